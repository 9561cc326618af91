package app

import (
	"context"
	"time"

	"go.uber.org/zap"
)

// tidyEvery is how often what could not be removed is tried again.
const tidyEvery = time.Minute

// tidy removes what a removal that was cut short has left on the engine. It is no part of a pass: on a slow card it takes its
// time, and nothing depends on it.
func (a *App) tidy(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-a.looked:
	}
	again := time.NewTicker(tidyEvery)
	defer again.Stop()
	for {
		if err := a.engine.Tidy(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("volumes of a removed container are not removed yet", zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}
