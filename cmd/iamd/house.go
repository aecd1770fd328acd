package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/aws/cloudformation"
	"github.com/iamd-dev/iamd/internal/aws/codebuild"
	"github.com/iamd-dev/iamd/internal/aws/codepipeline"
	"github.com/iamd-dev/iamd/internal/aws/dynamodb"
	"github.com/iamd-dev/iamd/internal/aws/ec2"
	"github.com/iamd-dev/iamd/internal/aws/ecs"
	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/aws/lambda"
	"github.com/iamd-dev/iamd/internal/aws/ssm"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/docker"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/outbound"
	"github.com/iamd-dev/iamd/internal/server"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/ssmagent"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/store/etcd"
	"github.com/iamd-dev/iamd/internal/workload"
)

// A house is everything that one data directory holds, open.
type house struct {
	server   *server.Server
	rootKeys []identity.RootKey

	log     *slog.Logger
	db      *store.DB
	keyring *identity.Keyring
	issuer  *outbound.Issuer
	objects *data.DB          // nil in a cluster
	engines *dynamodb.Engines // nil in a cluster
	items   *dynamodb.Service

	inside    *server.Inside
	roles     *servicerole.Roles
	workloads *workload.Host
	machines  *ec2.Machines         // nil in a cluster
	pipelines *codepipeline.Service // nil in a cluster
	builds    *codebuild.Service    // nil in a cluster
	nodes     *ssm.Service
	functions *lambda.Service         // nil in a cluster
	stacks    *cloudformation.Service // nil in a cluster
	tasks     *ecs.Service            // nil in a cluster
	audit     *audit.Log
	reasons   *audit.Decisions
	lock      *os.File // of the data directory; nil where the log has it
}

const rotateEvery = time.Hour // looks at the sealing keys, which are renewed daily, and at those that sign tokens

// openHouse opens the data directory, making what is not there yet: itself, the
// accounts, their root keys and the credentials file. It is the only one who has
// the directory open until Close.
func openHouse(ctx context.Context, s *settings, log *slog.Logger) (_ *house, err error) {
	h := &house{log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if err := os.MkdirAll(s.data, 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	state, err := h.state(ctx, s)
	if err != nil {
		return nil, err
	}
	// Read before anything is made: a damaged file stops the start.
	keys, err := readCredentials(filepath.Join(s.data, "credentials"))
	if err != nil {
		return nil, errors.Join(err, state.Close())
	}
	vault, err := openVault(ctx, filepath.Join(s.data, "master.key"), state)
	if err != nil {
		return nil, errors.Join(err, state.Close())
	}
	if h.db, err = store.Open(ctx, store.Sealed(state, vault), tables()...); err != nil {
		return nil, err
	}
	if err := iam.UndoImports(ctx, h.db); err != nil {
		return nil, err
	}
	h.keyring = identity.NewKeyring(vault)
	if err := h.keyring.Rotate(ctx, h.db, time.Now()); err != nil {
		return nil, err
	}
	h.issuer = &outbound.Issuer{DB: h.db, Vault: vault, Base: s.externalURL}
	if err := h.issuer.Rotate(ctx, time.Now(), false); err != nil {
		return nil, err
	}
	accounts := s.accounts
	if len(accounts) == 0 && h.empty() {
		accounts = []string{defaultAccount}
	}
	if h.rootKeys, err = identity.EnsureAccounts(ctx, h.db, h.keyring, accounts, s.rootKey, time.Now()); err != nil {
		return nil, err
	}
	if err := keys.update(h.rootKeys); err != nil {
		return nil, err
	}
	if err := iam.Register(ctx, h.db, s.providers, time.Now()); err != nil {
		return nil, fmt.Errorf("registering the product providers: %w", err)
	}
	if s.cluster == nil { // objects and tables are on one machine, and would not be found on the others
		if h.objects, err = data.Open(filepath.Join(s.data, "s3")); err != nil {
			return nil, err
		}
		h.objects.OnWait(s.processors.wait)
		h.engines = &dynamodb.Engines{Dir: filepath.Join(s.data, "dynamodb"), Program: s.dynamodbEngine, Hidden: s.kept(), Log: log, Asked: s.processors.asks}
	}
	if h.audit, err = audit.Open(filepath.Join(s.data, "audit"), audit.Options{
		AlwaysSync: s.auditSync == syncAlways, RetainDays: s.auditRetention, Waiting: s.processors.wait, Aside: s.processors.alone(),
		Unjournaled: func(err error) {
			log.Warn("the records of calls side by side go to the audit log without a journal from now on, which takes longer", "error", err)
		},
	}); err != nil {
		return nil, err
	}
	if h.reasons, err = audit.OpenDecisions(filepath.Join(s.data, "decisions")); err != nil {
		return nil, err
	}
	h.inside = &server.Inside{}
	h.roles = &servicerole.Roles{Invoker: h.inside, DB: h.db, Keyring: h.keyring}
	h.workloads = &workload.Host{Dir: filepath.Join(s.data, "workloads"), Hidden: s.secrets(), Log: log}
	switch s.workloads {
	case workloadsProcess:
	case workloadsDocker:
		if h.workloads.Engine, err = docker.Connect(ctx, s.dockerHost); err != nil {
			return nil, fmt.Errorf("--workloads=docker: %w; start Docker, or name its socket in DOCKER_HOST as unix:///PATH; --workloads=process needs none", err)
		}
	default:
		h.workloads.Off = workload.ErrOff
	}
	if err := h.workloads.Open(); err != nil {
		return nil, err
	}
	if s.cluster == nil {
		h.machines = &ec2.Machines{DB: h.db, Roles: h.roles, Host: h.workloads, Dir: filepath.Join(s.data, "instances"), Log: log, Now: time.Now}
		if err := ec2.Recover(ctx, h.db, time.Now()); err != nil {
			return nil, err
		}
		if err := ssm.Recover(ctx, h.db, time.Now()); err != nil {
			return nil, err
		}
	}
	if s.cluster == nil { // tasks are on one machine, too
		h.tasks = &ecs.Service{DB: h.db, Roles: h.roles, Inside: h.inside, Workloads: h.workloads, Logs: filepath.Join(s.data, "ecs", "logs"), Log: log}
	}
	services, err := services(h, s)
	if err != nil {
		return nil, err
	}
	cfg := server.Config{
		DB:             h.db,
		Keyring:        h.keyring,
		Services:       services,
		Audit:          h.audit,
		Decisions:      h.reasons,
		Issuer:         h.issuer,
		Inside:         h.inside,
		Channel:        h.nodes,
		Log:            log,
		TrustedProxies: s.proxies,
		Hosts:          s.hosts,
		MetricsToken:   s.metricsToken,
	}
	if h.functions != nil {
		cfg.Code = h.functions
	}
	h.server, err = server.New(cfg)
	if err != nil {
		return nil, err
	}
	h.workloads.Endpoint = h.server
	if h.pipelines != nil {
		h.pipelines.Start()
	}
	if h.stacks != nil {
		h.stacks.Start()
	}
	if h.tasks != nil {
		if err := h.tasks.Start(ctx); err != nil {
			return nil, err
		}
	}
	if h.machines != nil {
		h.machines.Agent = h.agent
	}
	return h, nil
}

// agent is Systems Manager's agent in an instance.
func (h *house) agent(ctx context.Context, g *ec2.Guest) {
	shell, err := h.workloads.LookPath("sh")
	if err != nil {
		h.log.Error("an instance has no agent of Systems Manager", "instance", g.ID, "error", err)
		return
	}
	if err := h.nodes.Booted(ctx, g.Account, g.Region, g.ID); err != nil {
		h.log.Error("commands that an instance does not run any more could not be ended", "instance", g.ID, "error", err)
	}
	(&ssmagent.Agent{ID: g.ID, Region: g.Region, IP: g.IP, Hostname: g.Hostname, Endpoint: h.server, Credentials: g.Credentials, Exec: g.Exec, Shell: shell}).Run(ctx)
}

// state opens the log of the state and takes the lock of the data directory.
func (h *house) state(ctx context.Context, s *settings) (store.Log, error) {
	if s.cluster == nil {
		state, err := etcd.Open(ctx, s.data, etcd.Options{Logger: h.log})
		if err != nil {
			return nil, err
		}
		return waiting{state, s.processors.wait}, nil
	}
	var err error
	if h.lock, err = etcd.Lock(s.data); err != nil {
		return nil, err
	}
	for _, endpoint := range s.cluster.Endpoints {
		u, err := url.Parse(endpoint)
		if err != nil {
			return nil, err
		}
		if ip, err := netip.ParseAddr(u.Hostname()); u.Scheme == "http" && (err != nil || !ip.IsLoopback()) {
			h.log.Warn("others can read and change the state on the way to etcd: give https endpoints", "endpoint", endpoint)
			break
		}
	}
	c := *s.cluster
	c.Logger = h.log
	return etcd.Dial(ctx, c)
}

// openVault opens the master key. Where there is state already, a missing key is not
// made anew: nothing sealed could be opened with it.
func openVault(ctx context.Context, path string, state store.Log) (*identity.Vault, error) {
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		lost := fmt.Errorf("there is no master key %s, and the state is sealed with it: restore it from a copy, or, of a cluster, from another server", path)
		if _, err := state.Load(ctx, func(store.Event) error { return lost }); err != nil {
			return nil, err
		}
	}
	return identity.OpenVault(path)
}

// empty reports whether there is no account yet.
func (h *house) empty() bool {
	for range identity.Accounts.All(h.db.View(), "") {
		return false
	}
	return true
}

// keep looks after what needs it from time to time, until ctx ends.
func (h *house) keep(ctx context.Context) {
	tick := time.NewTicker(rotateEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := h.keyring.Rotate(ctx, h.db, now); err != nil && ctx.Err() == nil {
				h.log.Error("renewing the sealing key", "error", err)
			}
			if err := h.issuer.Rotate(ctx, now, false); err != nil && ctx.Err() == nil {
				h.log.Error("renewing the keys that sign tokens", "error", err)
			}
		}
	}
}

// Close waits for calls in flight and closes what is open, the lock last.
func (h *house) Close() error {
	var errs []error
	if h.nodes != nil {
		h.nodes.Close()
	}
	if h.machines != nil {
		h.machines.Close()
	}
	if h.pipelines != nil {
		h.pipelines.Close()
	}
	if h.builds != nil {
		h.builds.Close()
	}
	if h.tasks != nil {
		h.tasks.Close()
	}
	if h.workloads != nil {
		h.workloads.Close()
	}
	if h.stacks != nil {
		h.stacks.Close()
	}
	if h.functions != nil {
		h.functions.Close()
	}
	if h.server != nil {
		h.server.Close()
	}
	if h.items != nil {
		h.items.Close()
	}
	if h.engines != nil {
		errs = append(errs, h.engines.Close())
	}
	if h.audit != nil {
		errs = append(errs, h.audit.Close())
	}
	if h.reasons != nil {
		errs = append(errs, h.reasons.Close())
	}
	if h.objects != nil {
		errs = append(errs, h.objects.Close())
	}
	if h.db != nil {
		errs = append(errs, h.db.Close())
	}
	if h.lock != nil {
		errs = append(errs, h.lock.Close())
	}
	return errors.Join(errs...)
}
