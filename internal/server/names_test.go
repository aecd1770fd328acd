package server_test

import (
	"strings"
	"testing"

	"github.com/iamd-dev/iamd/internal/server"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// Services may share a signing name if X-Amz-Target tells them apart, and not otherwise.
func TestServicesOfOneName(t *testing.T) {
	named := func(target string) *service.Service {
		return service.New(&wire.Model{Name: "probe", SigningName: "probe", Protocol: wire.JSON10, TargetPrefix: target}, "")
	}
	for _, c := range []struct {
		targets []string
		refused bool
	}{
		{[]string{"Probe_1"}, false},
		{[]string{"Probe_1", "Probe_2"}, false},
		{[]string{"Probe_1", "Probe_2", "Probe_1"}, true},
		{[]string{"Probe_1", ""}, true},
		{[]string{"", "Probe_1"}, true},
		{[]string{"", ""}, true},
	} {
		var cfg server.Config
		for _, target := range c.targets {
			cfg.Services = append(cfg.Services, named(target))
		}
		_, err := server.New(cfg)
		if refused := err != nil && strings.Contains(err.Error(), "two services are signed for probe"); refused != c.refused {
			t.Errorf("%q: %v, want refused: %t", c.targets, err, c.refused)
		}
	}
}
