package app

import (
	"fmt"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/brambled/brambled/pkg/config"
)

// NewLogger makes the daemon's logger: to standard error, where the journal takes it.
func NewLogger(cfg config.Config) (*zap.Logger, error) {
	level, err := zapcore.ParseLevel(cfg.Log.Level)
	if err != nil {
		return nil, fmt.Errorf("log.level: %w", err)
	}
	z := zap.NewProductionConfig()
	z.Level = zap.NewAtomicLevelAt(level)
	z.Encoding = cfg.Log.Format
	z.Sampling = nil // lines are few, and none may be missing
	z.DisableCaller, z.DisableStacktrace = true, true
	z.EncoderConfig.EncodeTime = zapcore.RFC3339TimeEncoder
	z.EncoderConfig.EncodeDuration = zapcore.StringDurationEncoder
	log, err := z.Build()
	if err != nil {
		return nil, fmt.Errorf("make logger: %w", err)
	}
	return log, nil
}
