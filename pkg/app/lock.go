package app

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"go.uber.org/zap"
)

// lockState makes sure that one brambled runs on a state folder. The kernel drops the lock with the process, however it
// ends. The folder itself is locked: a disk that is full or read-only has no room for a file to lock, and must not keep
// the daemon from what it can do from memory.
func lockState(dir string, log *zap.Logger) (release func(), err error) {
	if err := os.MkdirAll(dir, 0o700); errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.ENOSPC) {
		log.Error("the state folder cannot be made, brambled goes on from memory", zap.Error(err))
		return func() {}, nil
	} else if err != nil {
		return nil, fmt.Errorf("make state folder: %w", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open state folder: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %s: another brambled runs with this state folder; stop it, or give this one another --state-dir", dir)
	}
	return func() { _ = f.Close() }, nil
}
