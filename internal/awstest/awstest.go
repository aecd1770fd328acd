// Package awstest tests iamd as its users meet it: a whole server in the test's
// process, real AWS SDK clients pointed at it, and a runner for scripts that
// somebody who knows AWS and no Go can read and write.
//
//	func Test(t *testing.T) { awstest.Scripts(t) }
//
// runs each testdata/*.txt of the calling package as a subtest, in parallel, each
// against a server of its own. (The test is in an external package, iam_test,
// because this package imports the services.) The server is the real one: store,
// decisions, audit and all, over a memory log and a temporary directory. For tests
// in Go there are Start and the clients that a Server gives.
//
// # Scripts
//
//	# An explicit deny in the boundary wins over the identity policy.
//	account 111122223333
//	as root
//	iam CreatePolicy PolicyName=nodelete PolicyDocument=@nodelete.json
//	iam CreateUser UserName=bob PermissionsBoundary=arn:aws:iam::111122223333:policy/nodelete
//	iam PutUserPolicy UserName=bob PolicyName=all PolicyDocument=@all.json
//	s3 CreateBucket Bucket=b
//	s3 PutObject Bucket=b Key=k Body=hello
//	key bob
//	as bob
//	s3 GetObject Bucket=b Key=k
//	stdout Body=hello
//	! s3 DeleteObject Bucket=b Key=k
//	stderr 'AccessDenied: .*with an explicit deny in a permissions boundary'
//
//	-- nodelete.json --
//	{"Version": "2012-10-17", "Statement": [
//	  {"Effect": "Allow", "Action": "*", "Resource": "*"},
//	  {"Effect": "Deny", "Action": "s3:Delete*", "Resource": "*"}]}
//	-- all.json --
//	{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}
//
// A script is a txtar archive: commands, one a line, and then files. A line that
// begins with # is a comment. Words are separated by white space. Within single
// quotes white space and $ mean nothing, and two quotes in a row are one. Outside
// of them $name and ${name} are replaced by the variable; one that is not set is an
// error.
//
// A command that does not go as it says fails the test: an operation that is
// refused, one with ! before it that is not, an unknown command, a file of the
// archive that nothing uses.
//
//	SERVICE OPERATION [PARAMETER=VALUE]...
//		calls an operation of iam, sts, organizations, s3, dynamodb, dynamodbstreams, ec2, ecs, lambda, ssm, codebuild, cloudformation or codepipeline as the current actor. stdout becomes
//		the output, stderr the error, as below. With ! it must be answered by an error.
//	until REGEXP SERVICE OPERATION [PARAMETER=VALUE]...
//		calls an operation again and again until what it answers matches: for what goes on
//		after an answer.
//	form SERVICE [NAME=VALUE]...
//		sends a signed form of the Query protocol as it stands here, Action and Version
//		included: what a client would not send. The value may be a file, as below.
//	account ID
//		makes this account the current one and its root the current actor. A server
//		has the accounts that its script names, the first of them as management
//		account, or 123456789012 when it names none.
//	as ACTOR
//		changes the current actor: one that was made below, root (of the current
//		account), root@ID, or anonymous.
//	key USER [ACTOR]
//		makes an access key for a user of the current account and the actor who has
//		it, named like the user unless said otherwise.
//	assume ACTOR ROLE-ARN [session=NAME] [PARAMETER=VALUE]...
//		calls sts AssumeRole as the current actor and makes the new one; the session
//		is named like the actor unless said otherwise. With ! it must be refused.
//	actor ACTOR [AccessKeyId=ID SecretAccessKey=SECRET [SessionToken=TOKEN]]
//		makes the actor who has these credentials, or those in the last output
//		(GetSessionToken, GetFederationToken, CreateAccessKey).
//	token NAME [CLAIM=VALUE]...
//		sets a variable to a web identity token of an issuer that the server trusts;
//		$issuer is its name, as it stands in ARNs and condition keys. Without claims the
//		token is for sts.amazonaws.com about "user", made now and valid for 5m: iat, exp
//		and nbf are given as durations from now. A claim without a value is left out;
//		one that begins with [ or { is JSON.
//	assertion NAME [FIELD=VALUE]... [ATTRIBUTE=VALUE]...
//		sets a variable to a signed SAML response of a provider whose metadata is
//		$saml_metadata. Fields are subject, format, issuer, recipient, audience; issued,
//		until and session (the end of the provider's own) as durations from now;
//		encrypted=yes, for whoever has $saml_key; forged=yes, with another key. All else
//		are attributes: AWS's by its name (Role, PrincipalTag:team), others by an
//		address or urn:. A value that begins with [ is a list. Unless said otherwise it
//		is about "ann", with RoleSessionName=ann.
//	stdout REGEXP, stderr REGEXP
//		what the last operation answered must match, or with ! must not. ^ and $ are
//		the ends of a line. With -count=N before it, it must match N times.
//	cmp stdout FILE, cmp stderr FILE
//		the answer must be exactly this.
//	error STATUS CODE [MESSAGE]
//		the last operation must have been refused with exactly this.
//	shape [FILE]
//		the last answer, as it was on the wire, must have exactly these elements, a
//		line PATH=VALUE each, in any order; ... in a line stands for some text. What is
//		there and empty is a line PATH=. Without a file there must be none. (IAM and
//		STS only.)
//	set NAME=PATH
//		sets a variable to the value that the last output has at the path:
//		set id=Role.RoleId. From an error: Code, Message, Status, RequestId.
//	advance DURATION
//		moves the clock of the server and of its clients: advance 1h.
//	totp NAME SEED [DURATION]
//		sets a variable to the code that an authenticator app with this seed, in base32,
//		shows by the server's clock now, or so long from now: totp next $seed 30s.
//	providers FILE
//		makes these the product providers, and no others: a list in JSON, in the form of
//		iamd serve --product-providers. With ! that must be refused.
//	topics reachable|unreachable
//		says whether messages for product providers' topics arrive.
//	notified
//		stdout is the next message for a product provider's topic that was not looked
//		at yet, as PATH=VALUE lines, with its Topic. With ! there must be none.
//	restart
//		stops the server and starts it again on the same data.
//	region NAME
//		lets the clients be in this region; at first they are in us-east-1.
//	header [NAME=VALUE]...
//		sends these headers with every request from here on: header User-Agent=x
//		X-Forwarded-For=203.0.113.9 (the server trusts a proxy at 127.0.0.1).
//		Without any it sends none.
//	presign NAME OPERATION [expires=DURATION] [PARAMETER=VALUE]...
//		sets a variable to the presigned URL of an S3 operation.
//	http METHOD URL [NAME=VALUE]... [@FILE]
//		sends a plain request, with headers and the file as body; the URL may be a
//		path. stdout has Status, the headers and Body. It never fails.
//	zip FILE [NAME=]FILE...
//		makes a file of the archive that is a zip of other files, each under its name or
//		another: zip code.zip index.py=handler.py.
//	explain
//		asks, as the root of the current account, why the last operation was allowed
//		or refused; stdout is what iamd explain prints.
//	audit
//		stdout is the audit records of the last operation, as PATH=VALUE lines.
//
// # Parameters and output
//
// A parameter is a path into the operation's input: UserName=bob, Tags.0.Key=a,
// Metadata.owner=alice. Its value is text, a number, true or false, a time as
// 2026-01-02T15:04:05Z, the name of a file of the archive after @ (its content,
// without $), or, for lists and structures, JSON: Tags='[{"Key":"a","Value":"b"}]'.
// Nothing is checked on the client's side, so that the server meets what it should
// refuse.
//
// Output is a line PATH=VALUE for each value: User.Arn=arn:aws:iam::...,
// Users.1.UserName=bob, Body=hello. Policy documents are shown decoded. An error
// is the line "CODE: MESSAGE", then Status=403 and RequestId=....
package awstest

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/cloudformation"
	"github.com/aws/aws-sdk-go-v2/service/codebuild"
	"github.com/aws/aws-sdk-go-v2/service/codepipeline"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/ecs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/ssm"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/middleware"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/authz"
	"github.com/iamd-dev/iamd/internal/aws/accessanalyzer"
	cloudformationservice "github.com/iamd-dev/iamd/internal/aws/cloudformation"
	codebuildservice "github.com/iamd-dev/iamd/internal/aws/codebuild"
	codepipelineservice "github.com/iamd-dev/iamd/internal/aws/codepipeline"
	dynamodbservice "github.com/iamd-dev/iamd/internal/aws/dynamodb"
	ec2service "github.com/iamd-dev/iamd/internal/aws/ec2"
	ecsservice "github.com/iamd-dev/iamd/internal/aws/ecs"
	iamservice "github.com/iamd-dev/iamd/internal/aws/iam"
	lambdaservice "github.com/iamd-dev/iamd/internal/aws/lambda"
	organizationsservice "github.com/iamd-dev/iamd/internal/aws/organizations"
	s3service "github.com/iamd-dev/iamd/internal/aws/s3"
	ssmservice "github.com/iamd-dev/iamd/internal/aws/ssm"
	stsservice "github.com/iamd-dev/iamd/internal/aws/sts"
	"github.com/iamd-dev/iamd/internal/data"
	"github.com/iamd-dev/iamd/internal/docker"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/lint"
	"github.com/iamd-dev/iamd/internal/outbound"
	"github.com/iamd-dev/iamd/internal/plainhttp"
	"github.com/iamd-dev/iamd/internal/proxy"
	"github.com/iamd-dev/iamd/internal/server"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/ssmagent"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/webidentity"
	"github.com/iamd-dev/iamd/internal/workload"
)

// DefaultAccount is the account of a server that was not told any.
const DefaultAccount = "123456789012"

// A Server is a whole iamd in the test's process.
type Server struct {
	URL     string
	Dir     string // its data directory: audit, s3
	DB      *store.DB
	Keyring *identity.Keyring
	// Outbound signs the tokens of accounts that vouch for their principals.
	Outbound *outbound.Issuer

	t        testing.TB
	vault    *identity.Vault
	log      store.Log // memory, which outlives a restart
	accounts []string
	upstream *proxy.Upstream // of S3; nil: its objects are here
	engine   *docker.Client  // nil: there is none
	roots    map[string]identity.RootKey
	ahead    atomic.Int64 // how far its clock was moved
	client   *http.Client
	issuer   *issuer

	topics topics

	mu      sync.RWMutex // held for writing while there is no handler
	handler *server.Server
	objects *data.DB
	engines *dynamodbservice.Engines
	items   *dynamodbservice.Service
	// Roles are what services assume, and Workloads where they run what they run. A package
	// whose tests run workloads calls workload.Keep first thing in TestMain.
	Roles     *servicerole.Roles
	Workloads *workload.Host
	Machines  *ec2service.Machines
	// Functions run there too.
	Functions *lambdaservice.Service
	// Stacks are worked on in the background.
	Stacks    *cloudformationservice.Service
	builds    *codebuildservice.Service
	pipelines *codepipelineservice.Service
	audit     *audit.Log
	reasons   *audit.Decisions
	tasks     *ecsservice.Service
	nodes     *ssmservice.Service
}

// Start starts a server with these accounts, the first as management account, or
// with DefaultAccount. It ends with the test.
func Start(t testing.TB, accounts ...string) *Server { return start(t, nil, nil, accounts) }

// StartWithEngine is Start with an engine, which runs the tasks of ECS as containers.
func StartWithEngine(t testing.TB, engine *docker.Client, accounts ...string) *Server {
	return start(t, nil, engine, accounts)
}

// StartBeforeStore is Start with S3's objects in another server, which the server asks as
// that one's root: its upstream, an iamd, too.
func StartBeforeStore(t testing.TB, accounts ...string) *Server {
	behind := Start(t)
	url, err := url.Parse(behind.URL)
	if err != nil {
		t.Fatal(err)
	}
	root := behind.Root(DefaultAccount)
	return start(t, &proxy.Upstream{URL: url, Service: "s3", Region: "us-east-1", AccessKeyID: root.AccessKeyID, Secret: identity.NewSecret(root.SecretAccessKey)}, nil, accounts)
}

func start(t testing.TB, objects *proxy.Upstream, engine *docker.Client, accounts []string) *Server {
	t.Helper()
	if len(accounts) == 0 {
		accounts = []string{DefaultAccount}
	}
	vault, err := identity.NewVault(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		Dir:      t.TempDir(),
		Keyring:  identity.NewKeyring(vault),
		vault:    vault,
		t:        t,
		log:      store.NewMemory(),
		accounts: accounts,
		upstream: objects,
		engine:   engine,
		roots:    map[string]identity.RootKey{},
	}
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.issuer.serve(w, r) {
			return
		}
		s.mu.RLock()
		h := s.handler
		s.mu.RUnlock()
		h.ServeHTTP(w, r)
	})
	web := &plainhttp.Server{Handler: answer, Others: &http.Server{Handler: answer, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.URL = "http://" + listener.Addr().String()
	if s.issuer, err = newIssuer(s.URL); err != nil {
		t.Fatal(err)
	}
	if err := s.open(); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	s.client = &http.Client{Transport: transport}
	go web.Serve(listener)
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		if err := web.Shutdown(context.Background()); err != nil {
			t.Errorf("stopping to serve: %v", err)
		}
		if err := s.close(); err != nil {
			t.Errorf("stopping the server: %v", err)
		}
	})
	return s
}

func (s *Server) open() error {
	ctx := context.Background()
	var err error
	if s.DB, err = store.Open(ctx, store.Sealed(s.log, s.vault), slices.Concat(identity.Tables(), outbound.Tables(), iamservice.Tables(), organizationsservice.Tables(), s3service.Tables(), dynamodbservice.Tables(), ec2service.Tables(), ecsservice.Tables(), lambdaservice.Tables(), ssmservice.Tables(), cloudformationservice.Tables(), codebuildservice.Tables(), codepipelineservice.Tables())...); err != nil {
		return err
	}
	if err := iamservice.UndoImports(ctx, s.DB); err != nil {
		return err
	}
	if err := ec2service.Recover(ctx, s.DB, s.Now()); err != nil {
		return err
	}
	if err := ssmservice.Recover(ctx, s.DB, s.Now()); err != nil {
		return err
	}
	s.Outbound = &outbound.Issuer{DB: s.DB, Vault: s.vault, Base: s.URL}
	if err := s.Keyring.Rotate(ctx, s.DB, s.Now()); err != nil {
		return err
	}
	if err := s.Outbound.Rotate(ctx, s.Now(), false); err != nil {
		return err
	}
	roots, err := identity.EnsureAccounts(ctx, s.DB, s.Keyring, s.accounts, nil, s.Now())
	if err != nil {
		return err
	}
	for _, key := range roots {
		s.roots[key.Account] = key
	}
	if s.objects, err = data.Open(filepath.Join(s.Dir, "s3")); err != nil {
		return err
	}
	if s.audit, err = audit.Open(filepath.Join(s.Dir, "audit"), audit.Options{}); err != nil {
		return err
	}
	if s.reasons, err = audit.OpenDecisions(filepath.Join(s.Dir, "decisions")); err != nil {
		return err
	}
	buckets, err := s3service.New(s.DB, s.objects)
	if err != nil {
		return err
	}
	if s.upstream != nil {
		buckets = s3service.NewUpstream(s.DB, &s3service.Upstream{Server: s.upstream})
	}
	issuers := &webidentity.Issuers{Trusted: []string{s.issuer.url}, Now: s.Now}
	s.engines = &dynamodbservice.Engines{Dir: filepath.Join(s.Dir, "dynamodb"), Program: dynamodbservice.FindProgram()}
	inside := &server.Inside{}
	s.Roles = &servicerole.Roles{Invoker: inside, DB: s.DB, Keyring: s.Keyring, Now: s.Now}
	s.Workloads = &workload.Host{Dir: filepath.Join(s.Dir, "workloads"), Hidden: []string{s.Dir}, Engine: s.engine}
	if err := s.Workloads.Open(); err != nil {
		return err
	}
	s.Machines = &ec2service.Machines{DB: s.DB, Roles: s.Roles, Host: s.Workloads, Dir: filepath.Join(s.Dir, "instances"),
		Log: slog.New(slog.NewTextHandler(testLog{s.t}, nil)), Now: s.Now}
	s.Functions = &lambdaservice.Service{DB: s.DB, Keyring: s.Keyring, Invoker: inside, Roles: s.Roles, Host: s.Workloads, Dir: filepath.Join(s.Dir, "lambda"), Now: s.Now}
	if err := s.Functions.Open(); err != nil {
		return err
	}
	s.builds = &codebuildservice.Service{DB: s.DB, Roles: s.Roles, Workloads: s.Workloads, Dir: filepath.Join(s.Dir, "codebuild"), Now: s.Now}
	if err := s.builds.Open(ctx); err != nil {
		return err
	}
	s.Stacks = &cloudformationservice.Service{DB: s.DB, Keyring: s.Keyring, Invoker: inside, Roles: s.Roles, Now: s.Now}
	s.tasks = &ecsservice.Service{DB: s.DB, Roles: s.Roles, Inside: inside, Workloads: s.Workloads, Logs: filepath.Join(s.Dir, "ecs", "logs"), Now: s.Now, Log: slog.New(slog.NewTextHandler(testLog{s.t}, &slog.HandlerOptions{Level: slog.LevelWarn}))}
	s.pipelines = &codepipelineservice.Service{DB: s.DB, Roles: s.Roles, Now: s.Now, Poll: 50 * time.Millisecond}
	if err := s.pipelines.Open(ctx); err != nil {
		return err
	}
	entities := &iamservice.Service{DB: s.DB, Keyring: s.Keyring, Issuers: issuers, Issuer: s.Outbound}
	s.nodes = &ssmservice.Service{DB: s.DB, Keyring: s.Keyring, Instance: ec2service.TagsOf, Now: s.Now}
	s.Machines.Agent = func(ctx context.Context, g *ec2service.Guest) {
		shell, err := s.Workloads.LookPath("sh")
		if err != nil {
			s.t.Errorf("an agent: %v", err)
			return
		}
		if err := s.nodes.Booted(ctx, g.Account, g.Region, g.ID); err != nil && ctx.Err() == nil {
			s.t.Errorf("an agent: %v", err)
		}
		(&ssmagent.Agent{ID: g.ID, Region: g.Region, IP: g.IP, Hostname: g.Hostname, Endpoint: s.handler, Credentials: g.Credentials, Exec: g.Exec, Shell: shell, Now: s.Now}).Run(ctx)
	}
	s.items = &dynamodbservice.Service{DB: s.DB, Engine: s.engines.Engine, Keyring: s.Keyring, Backups: filepath.Join(s.Dir, "dynamodb-backups")}
	if err := s.items.Open(ctx); err != nil {
		return err
	}
	s.handler, err = server.New(server.Config{
		DB:      s.DB,
		Keyring: s.Keyring,
		Services: []*service.Service{
			s.topics.tell(entities).AWS(),
			entities.Imports(),
			(&stsservice.Service{DB: s.DB, Keyring: s.Keyring, Managed: authz.Managed, Issuers: issuers, Issuer: s.Outbound}).AWS(),
			(&organizationsservice.Service{DB: s.DB, NewRole: iamservice.NewOrganizationRole}).AWS(),
			(&accessanalyzer.Service{Reference: lint.Reference()}).AWS(),
			buckets.AWS(),
			s.items.AWS(),
			s.items.Streams(),
			(&ec2service.Service{DB: s.DB, Machines: s.Machines}).AWS(),
			s.pipelines.AWS(),
			s.builds.AWS(),
			s.Functions.AWS(),
			s.Stacks.AWS(),
			s.nodes.AWS(),
			s.nodes.Messages(),
			s.nodes.Gateway(),
			s.tasks.AWS(),
		},
		Audit:          s.audit,
		Decisions:      s.reasons,
		Issuer:         s.Outbound,
		Inside:         inside,
		Channel:        s.nodes,
		Code:           s.Functions,
		Log:            slog.New(slog.NewTextHandler(testLog{s.t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Now:            s.Now,
		TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
		Hosts:          []string{"localhost"},
	})
	s.Workloads.Endpoint = s.handler
	if err == nil {
		s.pipelines.Start()
	}
	if err != nil {
		return err
	}
	s.Stacks.Start()
	return s.tasks.Start(ctx)
}

func (s *Server) close() error {
	s.nodes.Close()
	s.Machines.Close()
	s.pipelines.Close()
	s.tasks.Close()
	s.builds.Close()
	s.Stacks.Close()
	s.Workloads.Close()
	s.Functions.Close()
	s.handler.Close()
	s.items.Close()
	for _, close := range []func() error{s.engines.Close, s.audit.Close, s.reasons.Close, s.objects.Close, s.DB.Close} {
		if err := close(); err != nil {
			return err
		}
	}
	return nil
}

// Restart stops the server and starts it on the same data, at the same URL.
func (s *Server) Restart() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.close(); err != nil {
		s.t.Fatalf("stopping the server: %v", err)
	}
	if err := s.open(); err != nil {
		s.t.Fatalf("starting the server again: %v", err)
	}
}

// testLog writes the server's warnings to the test's log.
type testLog struct{ t testing.TB }

func (l testLog) Write(line []byte) (int, error) {
	l.t.Logf("server: %s", line)
	return len(line), nil
}

// Now is the time of the server and of the clients that it gives.
func (s *Server) Now() time.Time { return time.Now().Add(time.Duration(s.ahead.Load())) }

// Advance moves that time forward.
func (s *Server) Advance(d time.Duration) { s.ahead.Add(int64(d)) }

// Root returns the credentials of an account's root user.
func (s *Server) Root(account string) aws.Credentials {
	key, ok := s.roots[account]
	if !ok {
		s.t.Fatalf("the server has no account %s", account)
	}
	return aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret.Reveal()}
}

// Config is a configuration for SDK clients of whoever has the credentials; the
// zero credentials are anonymous. The clients sign by the server's clock, check no
// parameters, and do not try again.
func (s *Server) Config(c aws.Credentials) aws.Config {
	var provider aws.CredentialsProvider = aws.AnonymousCredentials{}
	if c.AccessKeyID != "" {
		provider = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return c, nil })
	}
	return aws.Config{
		Region:       "us-east-1",
		BaseEndpoint: &s.URL,
		Credentials:  provider,
		HTTPClient:   s.client,
		Retryer:      func() aws.Retryer { return aws.NopRetryer{} },
		APIOptions:   []func(*middleware.Stack) error{unchecked},
	}
}

// unchecked takes the check of parameters out of a client.
func unchecked(stack *middleware.Stack) error {
	stack.Initialize.Remove("OperationInputValidation") // that it is not there is as good
	return nil
}

// IAM, STS, Organizations and S3 return clients with the configuration.
func (s *Server) IAM(cfg aws.Config) *iam.Client {
	return iam.NewFromConfig(cfg, func(o *iam.Options) { o.HTTPSignerV4 = s.signer(false) })
}

func (s *Server) STS(cfg aws.Config) *sts.Client {
	return sts.NewFromConfig(cfg, func(o *sts.Options) { o.HTTPSignerV4 = s.signer(false) })
}

func (s *Server) Organizations(cfg aws.Config) *organizations.Client {
	return organizations.NewFromConfig(cfg, func(o *organizations.Options) { o.HTTPSignerV4 = s.signer(false) })
}

func (s *Server) S3(cfg aws.Config) *s3.Client {
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.HTTPSignerV4 = s.signer(true)
		o.UsePathStyle = true
	})
}

// DynamoDB returns a client with the configuration. The test's executable must be a
// keeper of programs: see workload.Keep.
func (s *Server) DynamoDB(cfg aws.Config) *dynamodb.Client {
	return dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) { o.HTTPSignerV4 = s.signer(false) })
}

// DynamoDBStreams returns a client with the configuration.
func (s *Server) DynamoDBStreams(cfg aws.Config) *dynamodbstreams.Client {
	return dynamodbstreams.NewFromConfig(cfg, func(o *dynamodbstreams.Options) { o.HTTPSignerV4 = s.signer(false) })
}

// Lambda returns a client with the configuration.
func (s *Server) Lambda(cfg aws.Config) *lambda.Client {
	return lambda.NewFromConfig(cfg, func(o *lambda.Options) { o.HTTPSignerV4 = s.signer(false) })
}

// CloudFormation returns a client with the configuration.
func (s *Server) CloudFormation(cfg aws.Config) *cloudformation.Client {
	return cloudformation.NewFromConfig(cfg, func(o *cloudformation.Options) { o.HTTPSignerV4 = s.signer(false) })
}

// SSM returns a client with the configuration.
func (s *Server) SSM(cfg aws.Config) *ssm.Client {
	return ssm.NewFromConfig(cfg, func(o *ssm.Options) { o.HTTPSignerV4 = s.signer(false) })
}

// CodeBuild returns a client with the configuration.
func (s *Server) CodeBuild(cfg aws.Config) *codebuild.Client {
	return codebuild.NewFromConfig(cfg, func(o *codebuild.Options) { o.HTTPSignerV4 = s.signer(false) })
}

// ECS returns a client with the configuration.
func (s *Server) ECS(cfg aws.Config) *ecs.Client {
	return ecs.NewFromConfig(cfg, func(o *ecs.Options) { o.HTTPSignerV4 = s.signer(false) })
}

// CodePipeline returns a client with the configuration.
func (s *Server) CodePipeline(cfg aws.Config) *codepipeline.Client {
	return codepipeline.NewFromConfig(cfg, func(o *codepipeline.Options) { o.HTTPSignerV4 = s.signer(false) })
}

// A signer signs as SDK clients do, by the server's clock.
type signer struct {
	*v4.Signer
	now func() time.Time
}

func (s *Server) signer(forS3 bool) signer {
	return signer{v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = forS3 }), s.Now}
}

func (s signer) SignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, _ time.Time, opts ...func(*v4.SignerOptions)) error {
	return s.Signer.SignHTTP(ctx, c, r, hash, service, region, s.now(), opts...)
}

func (s signer) PresignHTTP(ctx context.Context, c aws.Credentials, r *http.Request, hash, service, region string, _ time.Time, opts ...func(*v4.SignerOptions)) (string, http.Header, error) {
	return s.Signer.PresignHTTP(ctx, c, r, hash, service, region, s.now(), opts...)
}
