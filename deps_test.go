package iamd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
)

// order says which of our packages may import which: in "a < b", b may import a and
// whatever a may import. Names are without "internal/"; a star is any one service, and
// a service never imports another one, and of those that it calls, as the text says of
// that service by name, the api.
//
// A new edge is a decision: change this text in the same commit and say why.
const order = `
	# Leaves.
	NONE < arn, wire, sigv4, store, data, docker, rawnet, cores, plainhttp, reference/archive, recorded, template, ec2form
	arn, reference/archive < reference < reference/gen
	NONE < apigen

	# Programs beside us, and containers, which an engine runs.
	docker < workload, workload/enginetest

	# Where programs run beside the server, and the server beside them.
	cores < workload, cmd/iamd

	# Policies made of templates: texts in, texts out.
	NONE < policytemplate < aws/iam

	# What identity providers say, verified. It knows nothing of who is here.
	NONE < webidentity, saml
	saml < saml/samltest

	# The language, the wire, the state.
	arn < policy
	wire < aws/iam/api, aws/sts/api, aws/s3/api, aws/dynamodb/api, aws/ec2/api, aws/ecs/api, aws/lambda/api, aws/ssm/api, aws/codebuild/api, aws/codepipeline/api, aws/accessanalyzer/api, aws/cloudformation/api, aws/organizations/api
	store < store/etcd, store/storetest

	# Who there is, what a service is, what is decided, what is recorded, in this order.
	arn, policy, store, aws/iam/api < identity
	identity, wire, reference < service < authz < audit < server
	sigv4 < server

	# Tokens that vouch for who is here: what signs them, and what publishes its keys.
	identity < outbound
	outbound < aws/iam, aws/sts, server

	# A service sees the table that it fills in, and never another service, the decision
	# or the pipeline; but the policy simulator, which is IAM's, is the decision, asked
	# about calls that nobody makes.
	service, data, aws/ssm/api, aws/organizations/api < aws/*
	authz, data, aws/iam/api, webidentity, saml < aws/iam
	service, aws/sts/api, webidentity, saml < aws/sts
	# Connections whose threads do not block: those of callers and of the embedded engine.
	rawnet < server, aws/dynamodb, cmd/iamd
	# Requests that need little of net/http.
	plainhttp < cmd/iamd, awstest

	# DynamoDB is kept by a program beside us.
	wire < aws/dynamodb/streams/api
	service, workload, aws/dynamodb/api, aws/dynamodb/streams/api < aws/dynamodb

	# Services use the roles that are passed to them in one way, and call each other inside:
	# whose input that takes, of that service they see the api.
	service, aws/sts/api < servicerole

	# Lambda runs programs with the roles that are passed to it, and reads code from S3.
	servicerole, workload, aws/lambda/api, aws/s3/api < aws/lambda

	# CloudFormation makes what other services have, by calls: it sees the api of those.
	service, servicerole, template, aws/cloudformation/api, aws/iam/api, aws/s3/api, aws/dynamodb/api, aws/organizations/api, aws/lambda/api, aws/ssm/api, aws/codebuild/api, aws/codepipeline/api, aws/ec2/api, aws/ecs/api < aws/cloudformation

	# Systems Manager has the tables of the services that its agents speak to. The agent
	# knows none of them: it speaks their wire.
	NONE < agentmessage
	wire < aws/ssm/ec2messages/api, aws/ssm/ssmmessages/api
	service, agentmessage, aws/ssm/api, aws/ssm/ec2messages/api, aws/ssm/ssmmessages/api < aws/ssm
	servicerole, sigv4, workload, wire, agentmessage < ssmagent
	aws/ssm, ssmagent < awstest, cmd/iamd

	# EC2's wire for clients: of the tour and of the tests.
	ec2form < awstest, cmd/iamd

	# What delivers a role's credentials to a workload.
	servicerole < imds

	# An instance is a workload.
	service, workload, servicerole, imds, aws/ec2/api < aws/ec2

	# What servers behind iamd keep.
	identity, sigv4 < proxy
	service, data, proxy, aws/s3/api < aws/s3

	# CodeBuild runs builds with the roles that are passed to it, with sources and artifacts in S3
	# and variables from Parameter Store.
	servicerole, imds, workload, aws/codebuild/api, aws/s3/api, aws/ssm/api < aws/codebuild

	# Tasks of ECS are workloads that find the credentials of their roles; their secrets are
	# parameters of Systems Manager.
	service, servicerole, imds, workload, aws/ecs/api, aws/ssm/api < aws/ecs

	# CodePipeline has other services do what its actions are.
	servicerole, aws/codepipeline/api, aws/s3/api, aws/codebuild/api, aws/cloudformation/api, aws/lambda/api < aws/codepipeline

	# Policies are linted with what AWS publishes about its services.
	policy, reference < lint < cmd/iamd, awstest
	service, lint, aws/accessanalyzer/api < aws/accessanalyzer

	# The program and the tests' server know everything.
	server, servicerole, proxy, aws/*, aws/iam, aws/sts, aws/s3, aws/dynamodb, aws/ec2, aws/ecs, aws/lambda, aws/codebuild, aws/cloudformation, aws/codepipeline, aws/accessanalyzer, store/etcd, reference, workload, saml/samltest < awstest
	server, servicerole, proxy, aws/*, aws/iam, aws/sts, aws/s3, aws/dynamodb, aws/ec2, aws/ecs, aws/lambda, aws/codebuild, aws/cloudformation, aws/codepipeline, aws/accessanalyzer, store/etcd, reference, workload < cmd/iamd
`

// outside says which packages of ours may import which modules that are not ours,
// outside tests. A new line is a new dependency: say in the commit why it is worth it.
const outside = `
	# State.
	go.etcd.io/etcd                  store/etcd
	go.etcd.io/bbolt                 data store/etcd
	go.uber.org/zap                  store/etcd
	github.com/google/btree          store

	# Credentials.
	github.com/pquerna/otp           identity aws/iam awstest
	golang.org/x/crypto              aws/iam

	# Buildspecs, whose values are texts however they look, and templates, which have tags of
	# their own: for that it takes YAML's nodes. It is the YAML organisation's own continuation
	# of gopkg.in/yaml.v3, which is archived.
	go.yaml.in/yaml/v3               aws/codebuild template

	# JSON by tokens. encoding/json's reader boxes each of them; this one is what comes after
	# it in the standard library (encoding/json/jsontext).
	github.com/go-json-experiment/json  wire

	# What identity providers sign.
	github.com/go-jose/go-jose/v4    webidentity outbound awstest
	github.com/russellhaering/goxmldsig  saml saml/samltest
	github.com/crewjam/saml          saml saml/samltest
	github.com/beevik/etree          saml saml/samltest
	github.com/mattermost/xml-roundtrip-validator  saml

	# What may stand in a header, as net/http asks it too.
	golang.org/x/net                 plainhttp

	# Programs beside us: namespaces, limits and cores are not in syscall. Nor is what the
	# kernel does with files by itself.
	golang.org/x/sys                 workload audit cores

	# WebSockets and terminals of Session Manager: what AWS's own agent and client are
	# made with.
	github.com/gorilla/websocket     aws/ssm ssmagent
	github.com/creack/pty            ssmagent

	# The program.
	github.com/spf13/cobra           cmd/iamd
	github.com/spf13/pflag           cmd/iamd
	sigs.k8s.io/yaml                 cmd/iamd
	github.com/prometheus/client_golang  server

	# Clients: of the tour and of the tests.
	github.com/aws/aws-sdk-go-v2     awstest cmd/iamd
	github.com/aws/smithy-go         awstest cmd/iamd
	golang.org/x/tools               awstest
	github.com/google/go-cmp         store/storetest
`

// withoutHTTP are the packages that decide. They are called with values, never with a request.
var withoutHTTP = []string{"arn", "policy", "identity", "authz", "store", "reference"}

const module = "github.com/iamd-dev/iamd/"

// A listed is what go list says of a package.
type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

func list(t *testing.T) []listed {
	t.Helper()
	all, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

var packages = sync.OnceValues(func() ([]listed, error) {
	var complaints bytes.Buffer
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,Deps", "./...")
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w\n%s", err, complaints.Bytes())
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		if len(p.GoFiles) > 0 {
			all = append(all, p)
		}
	}
})

// short is a package's name as the tables above have it; ok is false for others' packages.
func short(importPath string) (name string, ok bool) {
	name, ok = strings.CutPrefix(importPath, module)
	return strings.TrimPrefix(name, "internal/"), ok
}

func TestImportOrder(t *testing.T) {
	allowed, err := parseOrder(order)
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[string]bool)
	for _, p := range list(t) {
		name, _ := short(p.ImportPath)
		rule := nodeOf(allowed, name)
		if rule == "" {
			t.Errorf("%s has no place in the import order: add it to deps_test.go", name)
			continue
		}
		used[rule] = true
		for _, i := range p.Imports {
			imported, ours := short(i)
			if !ours {
				continue
			}
			if !allowed[rule][nodeOf(allowed, imported)] {
				t.Errorf("%s imports %s, which the import order does not allow", name, imported)
			}
			if a, b := serviceOf(name), serviceOf(imported); a != "" && b != "" && a != b && (rule != name || !strings.HasSuffix(imported, "/api")) {
				t.Errorf("%s imports %s, which is another service's", name, imported)
			}
		}
	}
	for node := range allowed {
		if !used[node] {
			t.Errorf("the import order speaks of %s, and there is no such package", node)
		}
	}
}

func TestImportsFromOutside(t *testing.T) {
	importers := make(map[string][]string)
	for line := range strings.Lines(outside) {
		if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
			importers[f[0]] = f[1:]
		}
	}
	used := make(map[string]bool)
	for _, p := range list(t) {
		name, _ := short(p.ImportPath)
		for _, i := range p.Imports {
			first, _, _ := strings.Cut(i, "/")
			if _, ours := short(i); ours || !strings.Contains(first, ".") {
				continue
			}
			found := false
			for m, by := range importers {
				if (i == m || strings.HasPrefix(i, m+"/")) && slices.Contains(by, name) {
					found, used[m+" "+name] = true, true
				}
			}
			if !found {
				t.Errorf("%s imports %s; no package may do so without standing in deps_test.go", name, i)
			}
		}
	}
	for m, by := range importers {
		for _, name := range by {
			if !used[m+" "+name] {
				t.Errorf("%s may import %s and does not", name, m)
			}
		}
	}
}

func TestDecisionsKnowNoHTTP(t *testing.T) {
	for _, p := range list(t) {
		name, _ := short(p.ImportPath)
		if slices.Contains(withoutHTTP, name) && slices.Contains(p.Imports, "net/http") {
			t.Errorf("%s imports net/http", name)
		}
		// What others build on brings no web server with it.
		if (name == "arn" || name == "policy") && slices.Contains(p.Deps, "net/http") {
			t.Errorf("%s depends on net/http", name)
		}
	}
}

// nodeOf returns the name by which the order speaks of a package, "" when there is
// none. A name without a star comes first.
func nodeOf(allowed map[string]map[string]bool, name string) string {
	if _, ok := allowed[name]; ok {
		return name
	}
	for node := range allowed {
		if ok, _ := path.Match(node, name); ok {
			return node
		}
	}
	return ""
}

// serviceOf returns "sts" for aws/sts and aws/sts/api, and "" for what is no service.
func serviceOf(name string) string {
	rest, ok := strings.CutPrefix(name, "aws/")
	if !ok {
		return ""
	}
	service, _, _ := strings.Cut(rest, "/")
	return service
}

// parseOrder returns for each name the names that it may import.
func parseOrder(text string) (map[string]map[string]bool, error) {
	allowed := make(map[string]map[string]bool)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		var below []string
		for i, group := range strings.Split(line, "<") {
			var names []string
			for name := range strings.SplitSeq(group, ",") {
				names = append(names, strings.TrimSpace(name))
			}
			for _, name := range names {
				if i == 0 {
					if name != "NONE" && allowed[name] == nil {
						return nil, fmt.Errorf("%s is used before it has a place", name)
					}
					continue
				}
				if allowed[name] == nil {
					allowed[name] = make(map[string]bool)
				}
				for _, b := range below {
					if b == "NONE" {
						continue
					}
					allowed[name][b] = true
					maps.Copy(allowed[name], allowed[b])
				}
			}
			below = names
		}
	}
	return allowed, nil
}
