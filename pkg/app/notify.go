package app

import (
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notifier tells systemd how the daemon is. Outside of systemd every call does nothing.
type notifier struct{ interval time.Duration }

func newNotifier() *notifier {
	n := &notifier{}
	// An error means a malformed WATCHDOG_USEC, which systemd does not make; no watchdog then.
	if d, err := daemon.SdWatchdogEnabled(false); err == nil {
		n.interval = d
	}
	return n
}

// every is how often beat is to be called: three times within the watchdog's limit.
func (n *notifier) every() time.Duration {
	if n.interval <= 0 {
		return 10 * time.Second
	}
	return n.interval / 3
}

// beat feeds the watchdog. It is called by the loop's own goroutine, so that a loop that is stuck is restarted.
func (n *notifier) beat() {
	if n.interval > 0 {
		_, _ = daemon.SdNotify(false, daemon.SdNotifyWatchdog)
	}
}

func (n *notifier) ready()    { _, _ = daemon.SdNotify(false, daemon.SdNotifyReady) }
func (n *notifier) stopping() { _, _ = daemon.SdNotify(false, daemon.SdNotifyStopping) }
