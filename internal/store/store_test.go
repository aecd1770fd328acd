package store_test

import (
	"testing"

	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Log {
		log := store.NewMemory()
		return func() store.Log { return log }
	})
}
