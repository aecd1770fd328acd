package main

import (
	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/aws/sts"
	"github.com/iamd-dev/iamd/internal/service"
)

// services are the AWS services that the program serves.
func services(h *house) ([]*service.Service, error) {
	return []*service.Service{
		(&iam.Service{DB: h.db, Keyring: h.keyring}).AWS(),
		(&sts.Service{Keyring: h.keyring, Managed: authz.Managed}).AWS(),
	}, nil
}
