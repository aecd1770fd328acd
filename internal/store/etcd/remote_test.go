package etcd_test

import (
	"context"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/store/etcd"
	"github.com/iamd-dev/iamd/internal/store/storetest"
)

// cluster starts an etcd with a port, as somebody else would run it, and
// returns its endpoint.
func cluster(t *testing.T) string {
	t.Helper()
	local := url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	cfg.ListenPeerUrls = nil
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{local}, []url.URL{local}
	cfg.TickMs, cfg.ElectionMs = 10, 50
	cfg.MaxTxnOps = store.MaxKeys
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	<-e.Server.ReadyNotify()
	return "http://" + e.Clients[0].Addr().String()
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func TestRemote(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Log {
		endpoint := cluster(t)
		return func() store.Log {
			log, err := etcd.Dial(t.Context(), etcd.Cluster{Endpoints: []string{endpoint}, Logger: quiet()})
			if err != nil {
				t.Fatal(err)
			}
			return log
		}
	})
}

// Nobody listens on the port of an address that is not given out.
func TestDialNobody(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	log, err := etcd.Dial(ctx, etcd.Cluster{Endpoints: []string{"http://127.0.0.1:1"}, Logger: quiet()})
	if err == nil {
		log.Close()
		t.Fatal("Dial succeeded")
	}
	if !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("Dial = %q, want the endpoint in it", err)
	}
}
