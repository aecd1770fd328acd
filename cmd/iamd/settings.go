package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"github.com/iamd-dev/iamd/internal/aws/dynamodb"
	"github.com/iamd-dev/iamd/internal/aws/iam"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/store/etcd"
	"github.com/iamd-dev/iamd/internal/webidentity"
)

// The settings of a server. Each is a flag of iamd serve and, under the same name,
// a key of the configuration file; the command line wins over the file.
type settings struct {
	listen           string
	data             string
	accounts         []string
	config           string
	tlsCert, tlsKey  string
	trustedProxies   []string
	hosts            []string
	trustedIssuers   []string
	productProviders string
	externalURL      string
	metricsTokenFile string
	auditSync        string
	auditRetention   int    // days
	dynamodbEngine   string // path of dynoxide
	workloads        string
	workloadsExposed bool
	dockerHost       string // DOCKER_HOST
	etcd             etcdSettings
	upstreams        upstreamSettings

	rootKey *identity.RootKey // from the environment; nil: made

	// What the texts above mean; see check.
	proxies      []netip.Prefix
	providers    []iam.Provider
	metricsToken identity.Secret
	cluster      *etcd.Cluster // nil: the state is in the data directory
	behind       upstreams

	processors *processors // set by whoever serves alone in its process
}

// The settings of an etcd cluster.
type etcdSettings struct {
	endpoints              []string
	ca, cert, key          string
	username, passwordFile string
}

const (
	defaultListen  = "127.0.0.1:4600"
	defaultAccount = "123456789012"
)

// register makes the flags. It is the one list of settings.
func (s *settings) register(fs *pflag.FlagSet) {
	fs.SortFlags = false
	fs.StringVar(&s.listen, "listen", defaultListen, "answer on `HOST:PORT`; port 0 picks a free one")
	fs.StringVar(&s.data, "data", defaultData(), "keep everything in `DIR`")
	fs.StringSliceVar(&s.accounts, "account", nil, "make this `ACCOUNT` (12 digits) if it is not there yet; can be repeated. The first one ever made is the management account (default "+defaultAccount+")")
	fs.StringVar(&s.config, "config", "", "read settings from a YAML `FILE`, whose keys are the names of these flags")
	fs.StringVar(&s.tlsCert, "tls-cert", "", "speak TLS with the certificate chain in `FILE` (PEM)")
	fs.StringVar(&s.tlsKey, "tls-key", "", "and its private key in `FILE` (PEM)")
	fs.StringSliceVar(&s.trustedProxies, "trusted-proxies", nil, "believe X-Forwarded-For and X-Forwarded-Proto of these `ADDRESSES` (192.0.2.7 or 10.0.0.0/8)")
	fs.StringSliceVar(&s.hosts, "hosts", []string{"localhost"}, "find bucket b under b.NAME for each of these `NAMES`, which replace the default; b.s3.anything is found without")
	fs.StringVar(&s.externalURL, "external-url", "", "be reached by others at `URL`, which the tokens of outbound web identity federation name (default where it listens)")
	fs.StringSliceVar(&s.trustedIssuers, "trusted-issuers", nil, "ask these `ISSUERS` of web identity tokens for their keys although they speak http or are on this machine or a private network (http://127.0.0.1:8080); accounts still have to register them")
	fs.StringVar(&s.productProviders, "product-providers", "", "let the product providers in `FILE` (YAML) create delegation requests: their accounts, policy templates and permissions boundaries; without, nobody can")
	fs.StringVar(&s.metricsTokenFile, "metrics-token-file", "", "let whoever sends the bearer token in `FILE` read /metrics; without, only loopback may")
	fs.StringVar(&s.dynamodbEngine, "dynamodb-engine", dynamodb.FindProgram(), "keep DynamoDB's tables with this dynoxide `PROGRAM`, which scripts/install-dynoxide installs; without one DynamoDB is not served")
	fs.StringVar(&s.workloads, "workloads", workloadsOff, "run what roles are passed to (functions, instances, tasks, builds) on this machine as `process`, each in namespaces of its own; docker has tasks of ECS run as containers of the engine that DOCKER_HOST names, and the rest as processes; off runs nothing")
	fs.BoolVar(&s.workloadsExposed, "workloads-exposed", false, "let --workloads stand beside a --listen that others reach: who may call lambda:CreateFunction then runs programs on this machine")
	fs.StringVar(&s.auditSync, "audit-sync", syncCredentials, "have the audit records of `WHICH` calls on the disk before they are answered: credentials (management calls and issued credentials; data calls within a second) or always")
	fs.IntVar(&s.auditRetention, "audit-retention", 0, "keep the audit files of so many `DAYS`, today's included; 0 keeps all")
	fs.StringVar(&s.upstreams.s3, "upstreams-s3", "", "keep what S3's buckets hold in the S3-compatible store at `URL`; iamd authenticates, decides and records, and asks the store as itself")
	fs.StringVar(&s.upstreams.s3Region, "upstreams-s3-region", defaultRegion, "sign for the store as one in `REGION`")
	fs.StringVar(&s.upstreams.s3Owner, "upstreams-s3-owner", "", "let the `ACCOUNT` take over buckets that the store has and iamd does not know, by creating them; without, nobody does")
	fs.StringSliceVar(&s.upstreams.dynamodb, "upstreams-dynamodb", nil, "keep an account's DynamoDB tables at a compatible endpoint, as `ACCOUNT=URL`; can be repeated")
	fs.StringVar(&s.upstreams.credentials, "upstreams-credentials", "", "with the keys in `FILE`, AWS's credentials file with the profiles s3 and dynamodb-ACCOUNT")
	fs.StringSliceVar(&s.etcd.endpoints, "etcd-endpoints", nil, "keep the state in the etcd cluster at these `URLS` and not in DIR/etcd, so that several servers share it; S3 is served then with --upstreams-s3 only")
	fs.StringVar(&s.etcd.ca, "etcd-ca", "", "trust the etcd whose certificate is signed by one in `FILE` (PEM; default: by those that this machine trusts)")
	fs.StringVar(&s.etcd.cert, "etcd-cert", "", "show etcd the certificate chain in `FILE` (PEM)")
	fs.StringVar(&s.etcd.key, "etcd-key", "", "and its private key in `FILE` (PEM)")
	fs.StringVar(&s.etcd.username, "etcd-username", "", "be the `USER` of etcd")
	fs.StringVar(&s.etcd.passwordFile, "etcd-password-file", "", "with the password in `FILE`")
}

const (
	workloadsOff     = "off"
	workloadsProcess = "process"
	workloadsDocker  = "docker"
)

const (
	syncCredentials = "credentials"
	syncAlways      = "always"
)

// defaultData is the user's own place for data, by the XDG Base Directory Specification.
func defaultData() string {
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "iamd")
	}
	if home, err := os.UserHomeDir(); err == nil {
		return filepath.Join(home, ".local", "share", "iamd")
	}
	return ""
}

// kept are the server's own keys and data, which no other program may see.
func (s *settings) kept() []string {
	var paths []string
	for _, name := range []string{"audit", "credentials", "decisions", "dynamodb-backups", "etcd", "master.key", "s3"} {
		paths = append(paths, filepath.Join(s.data, name))
	}
	return paths
}

// secrets are what no workload may see: all that the server keeps, the files that its
// settings name, and what the user who runs it has to call others with.
func (s *settings) secrets() []string {
	paths := []string{s.data}
	for _, file := range []string{s.config, s.tlsKey, s.metricsTokenFile, s.etcd.key, s.etcd.passwordFile, s.upstreams.credentials} {
		if abs, err := filepath.Abs(file); err == nil && file != "" {
			paths = append(paths, abs)
		}
	}
	if home, err := os.UserHomeDir(); err == nil {
		for _, name := range []string{".aws", ".ssh", ".gnupg", ".kube", ".docker", ".netrc"} {
			if _, err := os.Stat(filepath.Join(home, name)); err == nil {
				paths = append(paths, filepath.Join(home, name))
			}
		}
	}
	return paths
}

// read takes the configuration file into flags that the command line did not set.
func (s *settings) read(fs *pflag.FlagSet) error {
	if s.config == "" {
		return nil
	}
	text, err := os.ReadFile(s.config)
	if err != nil {
		return usageError{fmt.Errorf("reading the configuration: %w", err)}
	}
	if err := setFromYAML(fs, text); err != nil {
		return usageError{fmt.Errorf("configuration %s: %w", s.config, err)}
	}
	return nil
}

// setFromYAML sets flags by a YAML text that maps their names to values. What
// begins with the same word may stand in a mapping: etcd: {endpoints: ...} is
// etcd-endpoints. It refuses keys that are there twice or are not the name of a flag.
func setFromYAML(fs *pflag.FlagSet, text []byte) error {
	asJSON, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	d := json.NewDecoder(bytes.NewReader(asJSON))
	d.UseNumber() // an account id is not a floating-point number
	var keys map[string]any
	if err := d.Decode(&keys); err != nil {
		return errors.New("it must be a mapping of names to values")
	}
	var names []string
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Name != "config" && f.Name != "help" {
			names = append(names, f.Name)
		}
	})
	for key, value := range keys {
		group, ok := value.(map[string]any)
		if !ok || fs.Lookup(key) != nil {
			continue
		}
		delete(keys, key)
		for name, value := range group {
			if _, twice := keys[key+"-"+name]; twice {
				return fmt.Errorf("%s-%s is there twice", key, name)
			}
			keys[key+"-"+name] = value
		}
	}
	for key, value := range keys {
		flag := fs.Lookup(key)
		if flag == nil || key == "config" || key == "help" {
			return fmt.Errorf("unknown key %q: did you mean %q?", key, nearest(key, names))
		}
		if flag.Changed {
			continue
		}
		list, isList := flag.Value.(pflag.SliceValue)
		values, manyGiven := value.([]any)
		if manyGiven && !isList {
			return fmt.Errorf("%s takes one value, not a list", key)
		}
		if !manyGiven {
			values = []any{value}
		}
		var texts []string
		for _, v := range values {
			switch v := v.(type) {
			case string:
				texts = append(texts, v)
			case json.Number:
				texts = append(texts, v.String())
			case bool:
				texts = append(texts, strconv.FormatBool(v))
			default:
				return fmt.Errorf("%s has a value that is not text, a number or a truth value", key)
			}
		}
		if isList {
			err = list.Replace(texts)
		} else {
			err = flag.Value.Set(texts[0])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// The environment variables that set the first account's root key.
const (
	rootKeyIDVariable  = "IAMD_ROOT_ACCESS_KEY_ID"
	rootSecretVariable = "IAMD_ROOT_SECRET_ACCESS_KEY"
)

// check says what is wrong with the settings, before anything is made or opened,
// and reads what they refer to.
func (s *settings) check(getenv func(string) string) error {
	wrong := func(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }
	if _, _, err := net.SplitHostPort(s.listen); err != nil {
		return wrong("--listen %q is not HOST:PORT: %w", s.listen, err)
	}
	if s.data == "" {
		return wrong("there is no home directory to keep data in: give --data DIR")
	}
	data, err := filepath.Abs(s.data) // programs beside us are told where their files are, and what is hidden, from elsewhere
	if err != nil {
		return wrong("--data %s: %v", s.data, err)
	}
	s.data = data
	for _, id := range s.accounts {
		if !identity.ValidAccount(id) {
			return wrong("--account %q is not an account id: those are 12 digits", id)
		}
	}
	if (s.tlsCert == "") != (s.tlsKey == "") {
		return wrong("TLS needs both --tls-cert and --tls-key")
	}
	for _, text := range s.trustedProxies {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, err := netip.ParseAddr(text)
			if err != nil {
				return wrong("--trusted-proxies %q is neither an address nor a range of addresses such as 10.0.0.0/8", text)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		s.proxies = append(s.proxies, prefix.Masked())
	}
	if s.externalURL != "" {
		u, err := url.Parse(s.externalURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
			return wrong("--external-url %q is not a URL such as https://iamd.example.com", s.externalURL)
		}
		s.externalURL = strings.TrimRight(s.externalURL, "/")
	}
	for _, issuer := range s.trustedIssuers {
		u, err := url.Parse(issuer)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || !(&webidentity.Issuers{Trusted: s.trustedIssuers}).CheckIssuer(issuer) {
			return wrong("--trusted-issuers %q is not an issuer such as http://127.0.0.1:8080 or https://kubernetes.default.svc", issuer)
		}
	}
	if s.workloads != workloadsOff && s.workloads != workloadsProcess && s.workloads != workloadsDocker {
		return wrong("--workloads %q is neither %s nor %s nor %s", s.workloads, workloadsOff, workloadsProcess, workloadsDocker)
	}
	s.dockerHost = getenv("DOCKER_HOST")
	if s.workloads != workloadsOff && !s.workloadsExposed && !loopback(s.listen) {
		return wrong("--listen %s is reached by others, who could run programs on this machine: say --workloads-exposed as well if they may", s.listen)
	}
	if s.productProviders != "" {
		text, err := os.ReadFile(s.productProviders)
		if err != nil {
			return wrong("reading --product-providers: %w", err)
		}
		asJSON, err := yaml.YAMLToJSONStrict(text)
		if err != nil {
			return wrong("--product-providers %s: %w", s.productProviders, err)
		}
		if s.providers, err = iam.ParseProviders(asJSON); err != nil {
			return wrong("--product-providers %s: %w", s.productProviders, err)
		}
	}
	if s.auditSync != syncCredentials && s.auditSync != syncAlways {
		return wrong("--audit-sync %q is neither %s nor %s", s.auditSync, syncCredentials, syncAlways)
	}
	if s.auditRetention < 0 {
		return wrong("--audit-retention %d is less than nothing", s.auditRetention)
	}
	id, secret := getenv(rootKeyIDVariable), getenv(rootSecretVariable)
	if (id == "") != (secret == "") {
		return wrong("set both %s and %s, or neither", rootKeyIDVariable, rootSecretVariable)
	}
	if id != "" {
		s.rootKey = &identity.RootKey{ID: id, Secret: identity.NewSecret(secret)}
		if err := identity.CheckRootKey(s.rootKey.ID, s.rootKey.Secret); err != nil {
			return wrong("%s and %s: %w", rootKeyIDVariable, rootSecretVariable, err)
		}
	}
	if s.metricsTokenFile != "" {
		text, err := os.ReadFile(s.metricsTokenFile)
		if err != nil {
			return wrong("reading the metrics token: %w", err)
		}
		token := strings.TrimSpace(string(text))
		if len(token) < 16 {
			return wrong("the metrics token in %s has %d characters: it must have 16 or more", s.metricsTokenFile, len(token))
		}
		s.metricsToken = identity.NewSecret(token)
	}
	if err := s.checkEtcd(); err != nil {
		return usageError{err}
	}
	if s.behind, err = s.upstreams.check(); err != nil {
		return usageError{err}
	}
	return nil
}

// loopback reports whether only this machine reaches the address.
func loopback(listen string) bool {
	host, _, _ := net.SplitHostPort(listen)
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (s *settings) checkEtcd() error {
	e := &s.etcd
	if len(e.endpoints) == 0 {
		if e.ca+e.cert+e.key+e.username+e.passwordFile != "" {
			return errors.New("there are settings of an etcd cluster, and no --etcd-endpoints")
		}
		return nil
	}
	s.cluster = &etcd.Cluster{Endpoints: e.endpoints, Username: e.username}
	secure := 0
	for _, endpoint := range e.endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Port() == "" || u.Path != "" && u.Path != "/" || u.User != nil || u.RawQuery != "" {
			return fmt.Errorf("--etcd-endpoints %q is not like https://etcd-1:2379", endpoint)
		}
		if u.Scheme == "https" {
			secure++
		}
	}
	switch {
	case secure != 0 && secure != len(e.endpoints):
		return errors.New("some of --etcd-endpoints are https and some are not")
	case secure == 0 && e.ca+e.cert+e.key != "":
		return errors.New("there are certificates for etcd, but --etcd-endpoints are not https")
	case (e.cert == "") != (e.key == ""):
		return errors.New("a certificate for etcd needs both --etcd-cert and --etcd-key")
	case (e.username == "") != (e.passwordFile == ""):
		return errors.New("a user of etcd needs both --etcd-username and --etcd-password-file")
	}
	if secure != 0 {
		s.cluster.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if e.ca != "" {
		pem, err := os.ReadFile(e.ca)
		if err != nil {
			return fmt.Errorf("reading --etcd-ca: %w", err)
		}
		s.cluster.TLS.RootCAs = x509.NewCertPool()
		if !s.cluster.TLS.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("reading --etcd-ca: %s has no certificate", e.ca)
		}
	}
	if e.cert != "" {
		pair, err := tls.LoadX509KeyPair(e.cert, e.key)
		if err != nil {
			return fmt.Errorf("reading --etcd-cert and --etcd-key: %w", err)
		}
		s.cluster.TLS.Certificates = []tls.Certificate{pair}
	}
	if e.passwordFile != "" {
		text, err := os.ReadFile(e.passwordFile)
		if err != nil {
			return fmt.Errorf("reading the password of etcd: %w", err)
		}
		s.cluster.Password = strings.TrimRight(string(text), "\r\n")
	}
	return nil
}
