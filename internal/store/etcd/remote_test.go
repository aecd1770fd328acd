package etcd_test

import (
	"context"
	"io"
	"log/slog"
	"net/url"
	"strings"
	"sync"
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
	endpoint, _ := member(t)
	return endpoint
}

// member is cluster, and what ends it before the test does.
func member(t *testing.T) (endpoint string, stop func()) {
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
	stop = sync.OnceFunc(e.Close)
	t.Cleanup(stop)
	<-e.Server.ReadyNotify()
	return "http://" + e.Clients[0].Addr().String(), stop
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

// A cluster that has gone is noticed, though the client looks for another member
// for as long as one lets it; one that is there and has nothing to say is not gone.
func TestWatchNoticesSilence(t *testing.T) {
	endpoint, stop := member(t)
	const silence = 200 * time.Millisecond
	log, err := etcd.Dial(t.Context(), etcd.Cluster{Endpoints: []string{endpoint}, Logger: quiet(), Silence: silence})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	ended := make(chan error, 1)
	go func() { ended <- log.Watch(t.Context(), 0, func(int64, []store.Event) {}) }()
	select {
	case err := <-ended:
		t.Fatalf("the watch of a quiet cluster ended: %v", err)
	case <-time.After(5 * silence):
	}
	stop()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the watch ended without an error")
		}
	case <-time.After(10 * time.Second):
		t.Error("the watch of a cluster that has gone goes on")
	}
}
