package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/brambled/brambled/pkg/consul"
	"github.com/brambled/brambled/pkg/status"
)

// announcePoll is how often a report that is to be written looks whether the node's name is known to be ours.
const announcePoll = 50 * time.Millisecond

// ownsName returns an error while another machine has this node's name: its report is not ours to write over.
func (a *App) ownsName(ctx context.Context) error {
	tick := time.NewTicker(announcePoll)
	defer tick.Stop()
	for !a.presence.Announced() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	if err := a.presence.Problem(); errors.Is(err, consul.ErrNameTaken) {
		return fmt.Errorf("the report belongs to another machine: %w", err)
	}
	return nil
}

// named asks for a pass whenever it changes that this node is seen by the others: a pass makes the hold that tells of it, and takes
// it back. Without one, nothing else happening on the node, it would stay as long as the resync takes.
func (a *App) named(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.presence.Changed():
			a.loop.Trigger()
		}
	}
}

// presenceHold is the hold of a node that is not seen by the others.
func presenceHold(err error) status.Hold {
	h := status.Hold{Scope: "presence", Cause: "not present", Detail: err.Error(), Lifts: "by itself; of what runs only services with x-brambled.stop_when_cut_off depend on it"}
	if errors.Is(err, consul.ErrNameTaken) {
		h.Lifts = "when the other machine is gone, or when one of the two has another name (node, --node); what runs goes on, but this machine's report is not written"
	}
	return h
}
