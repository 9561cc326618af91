package app

import (
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/zap/zaptest"
)

// A daemon that is killed while it writes the engine's record leaves half of a file; the next start does not keep it.
func TestGuardLeavesNoHalves(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".engine.json123", "engine.json", "lastgood.0"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	newGuard(nil, dir, zaptest.NewLogger(t))
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 {
		t.Errorf("left are %v, %v", left, err)
	}
}
