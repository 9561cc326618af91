package docker

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/moby/moby/client"
	"go.uber.org/zap"
)

// watched are the events that can matter. Health probes run commands in containers: their exec events, three a probe, must
// not wake an idle daemon.
func watched() client.Filters {
	f := client.Filters{}
	for _, t := range []events.Type{
		events.ContainerEventType, events.NetworkEventType, events.VolumeEventType, events.ImageEventType,
		events.ServiceEventType, events.NodeEventType, events.ConfigEventType, events.SecretEventType, // of managers only
	} {
		f.Add("type", string(t))
	}
	for _, a := range []events.Action{
		events.ActionCreate, events.ActionStart, events.ActionStop, events.ActionDie, events.ActionOOM, events.ActionPause, events.ActionUnPause,
		events.ActionRename, events.ActionUpdate, events.ActionDestroy, events.ActionHealthStatus,
		events.ActionConnect, events.ActionDisconnect, events.ActionRemove,
		events.ActionPull, events.ActionLoad, events.ActionImport, events.ActionTag, events.ActionUnTag, events.ActionDelete,
	} {
		f.Add("event", string(a))
	}
	return f
}

// Events calls notify on each event that can matter, after each new connection, and when a pull ends. It returns only when
// ctx ends. Events are hints: the engine drops those that are not read at once and keeps none over a restart, so whatever
// was remembered is forgotten with each new stream.
func (e *Engine) Events(ctx context.Context, notify func()) {
	e.notify.Store(&notify)
	defer e.notify.Store(nil)
	pause := time.Duration(0)
	for ctx.Err() == nil {
		opened := e.cfg.Now()
		err := e.stream(ctx, notify)
		if ctx.Err() != nil {
			return
		}
		e.log.Debug("event stream ended", zap.Error(err))
		e.forget()
		notify() // the next pass says that the engine is gone, if it is
		if e.cfg.Now().Sub(opened) > 10*time.Second {
			pause = 0
		}
		pause = min(max(2*pause, 100*time.Millisecond), 5*time.Second)
		wait := time.NewTimer(pause/2 + time.Duration(rand.Int64N(int64(pause))))
		select {
		case <-ctx.Done():
		case <-wait.C:
		}
		wait.Stop()
	}
}

// forget drops all that is remembered of the engine.
func (e *Engine) forget() {
	e.cache.reset()
	e.images.forgetAll()
}

// stream reads one event stream to its end.
func (e *Engine) stream(ctx context.Context, notify func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	connecting, stop := context.WithTimeout(ctx, e.cfg.CallTimeout)
	c, err := e.conns.get(connecting)
	stop()
	if err != nil {
		e.metrics.up.Set(0)
		return err
	}
	// The engine that answers next may be another one, and what was negotiated with this one counts no more, over whichever
	// connection: a call that failed since has made a new one.
	defer func() { e.conns.lost(e.conns.current()) }()
	// Events returns after the headers: from here on nothing is missed, so what was remembered before is forgotten now.
	res := c.Events(ctx, client.EventsListOptions{Filters: watched()})
	select {
	case err := <-res.Err:
		return err
	default:
	}
	e.metrics.streams.Inc()
	e.forget()
	notify()
	for {
		select {
		case m := <-res.Messages:
			if e.note(m) {
				e.metrics.events.Inc()
				notify()
			}
		case err := <-res.Err:
			if err == nil || errors.Is(err, io.EOF) {
				err = errors.New("the engine closed the stream")
			}
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// note forgets what an event makes doubtful, and reports whether the event asks for a look.
func (e *Engine) note(m events.Message) bool {
	switch m.Type {
	case events.ContainerEventType:
		if m.Action == events.ActionHealthStatusRunning {
			return false // a probe began
		}
		e.cache.dirty(m.Actor.ID)
	case events.NetworkEventType:
		if id := m.Actor.Attributes["container"]; id != "" {
			e.cache.dirty(id)
		}
	case events.ImageEventType:
		e.images.forgetAll()
	case events.VolumeEventType:
	case events.ServiceEventType, events.NodeEventType, events.ConfigEventType, events.SecretEventType:
	default:
		return false
	}
	return true
}
