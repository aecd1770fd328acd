package etcd_test

import (
	"testing"

	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/store/etcd"
	"github.com/iamd-dev/iamd/internal/store/storetest"
)

func TestEmbedded(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Log {
		dir := t.TempDir()
		return func() store.Log {
			log, err := etcd.Open(t.Context(), dir, etcd.Options{})
			if err != nil {
				t.Fatal(err)
			}
			return log
		}
	})
}
