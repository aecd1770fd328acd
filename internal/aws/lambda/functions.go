package lambda

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/lambda/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/servicerole"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A Function is what its versions share.
type Function struct {
	Tags      map[string]string            `json:",omitempty"`
	Reserved  *int32                       `json:",omitempty"` // concurrent executions; nil: of the account's
	Published int64                        `json:",omitempty"` // number of the last version
	Aliases   map[string]*Alias            `json:",omitempty"`
	Policies  map[string]identity.Document `json:",omitempty"` // by qualifier; "" is the function itself
	Events    map[string]*EventConfig      `json:",omitempty"` // of asynchronous invocations, by qualifier
}

// A Version is the code and configuration that an invocation runs.
type Version struct {
	Config api.FunctionConfiguration // as answers have it, without states; FunctionArn is the function's
	Code   Code
	Stamp  string // another one with every change of what an environment is made of
	// As is the number under which $LATEST was published last, "" when it has changed since.
	As string `json:",omitempty"`
}

var (
	functions = store.NewTable[Function]("lambda")         // by name.key
	versions  = store.NewTable[Version]("lambda-versions") // by versionKey
)

// Tables returns the tables of the store, so that what is in them is checked at start.
func Tables() []store.Checker { return []store.Checker{functions, versions} }

// versionKey is where a version is kept: after the function's key, $LATEST first.
func versionKey(n name, version string) string {
	number := int64(0)
	if version != latest {
		number, _ = strconv.ParseInt(version, 10, 64)
	}
	return fmt.Sprintf("%s/%010d", n.key(), number)
}

// version is the version with a number or $LATEST; nil when there is none.
func version(r store.Reader, n name, number string) *Version {
	if number != latest && (len(number) > 10 || strings.HasPrefix(number, "0")) {
		return nil
	}
	return versions.Get(r, versionKey(n, number))
}

// lookup is the function that is named, whatever the qualifier.
func (n name) lookup(r store.Reader) (*Function, error) {
	if f := functions.Get(r, n.key()); f != nil {
		return f, nil
	}
	return nil, n.notFound()
}

// find is the function that is named and its version: that of the qualifier or, without, $LATEST.
func find(r store.Reader, n name) (*Function, *Version, error) {
	f, err := n.lookup(r)
	if err != nil {
		return nil, nil, err
	}
	number := n.qualifier
	switch {
	case number == "":
		number = latest
	case isAlias(number):
		a := f.Aliases[number]
		if a == nil {
			return nil, nil, n.notFound()
		}
		number = a.Version
	}
	v := version(r, n, number)
	if v == nil {
		return nil, nil, n.notFound()
	}
	return f, v, nil
}

const (
	defaultTimeout = 3
	longestTimeout = 900
	defaultMemory  = 128
	largestMemory  = 10240
	defaultStorage = 512
	largestEnv     = 4 << 10
	mostTags       = 50
	longestName    = 64
)

// runtimes are those that AWS takes for new functions, and what runs them here.
var runtimes = map[string]string{
	"provided.al2023": "bootstrap", "provided.al2": "bootstrap",
	"python3.9": "python", "python3.10": "python", "python3.11": "python", "python3.12": "python", "python3.13": "python", "python3.14": "python",
	"nodejs18.x": "node", "nodejs20.x": "node", "nodejs22.x": "node", "nodejs24.x": "node",
	"java8.al2": "", "java11": "", "java17": "", "java21": "", "java25": "",
	"dotnet8": "", "dotnet10": "", "ruby3.2": "", "ruby3.3": "", "ruby3.4": "", "ruby4.0": "",
}

// retired are the runtimes that AWS takes no longer.
var retired = []string{"nodejs", "nodejs4.3", "nodejs4.3-edge", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x", "nodejs14.x", "nodejs16.x",
	"java8", "python2.7", "python3.6", "python3.7", "python3.8", "dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1", "dotnet6",
	"go1.x", "ruby2.5", "ruby2.7", "provided"}

func checkRuntime(runtime string) error {
	if _, ok := runtimes[runtime]; ok || runtime == "" {
		return nil
	}
	if slices.Contains(retired, runtime) {
		return api.InvalidParameterValue("The runtime parameter of %s is no longer supported for creating or updating AWS Lambda functions. "+
			"We recommend you use a supported runtime while creating or updating functions.", runtime)
	}
	return api.InvalidParameterValue("Value %s at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: [%s] or be a valid ARN",
		runtime, strings.Join(sorted(runtimes), ", "))
}

// checkNew is what AWS checks of a new function before it decides.
func checkNew(c *service.Call, n name, in *api.CreateFunctionInput) error {
	if n.account != c.Account {
		return &wire.Error{Code: "AccessDeniedException", Status: 403, NoMessage: true}
	}
	if n.qualifier != "" {
		return api.Validation("1 validation error detected: Value '%s' at 'functionName' failed to satisfy constraint: Member must satisfy regular expression pattern: %s",
			in.FunctionName, `(arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?(function:)?([a-zA-Z0-9-_]+)`)
	}
	if len(n.function) > longestName {
		return api.InvalidParameterValue("1 validation error detected: Value '%s' at 'functionName' failed to satisfy constraint: Member must have length less than or equal to %d", n.function, longestName)
	}
	return ownRole(c.Account, in.Role)
}

func (s *Service) createFunction(ctx context.Context, c *service.Call, in *api.CreateFunctionInput) (*api.CreateFunctionOutput, error) {
	n, err := parseName(c, in.FunctionName, "")
	if err != nil {
		return nil, err
	}
	if in.PackageType == "Image" {
		return nil, api.InvalidParameterValue("iamd runs no container images: give the code as a zip.")
	}
	if in.Runtime == "" || in.Handler == "" {
		return nil, api.InvalidParameterValue("Runtime and Handler are mandatory parameters for functions created with deployment packages.")
	}
	switch {
	case in.CodeSigningConfigArn != "":
		return nil, notHere("CodeSigningConfigArn", "code signing")
	case in.TenancyConfig != nil:
		return nil, notHere("TenancyConfig", "tenant isolation")
	case in.PublishTo != "":
		return nil, notHere("PublishTo", "capacity providers")
	case len(in.Tags) > mostTags:
		return nil, api.InvalidParameterValue("Number of tags exceeds resource tag limit.")
	}
	v := &Version{Config: api.FunctionConfiguration{
		FunctionName: n.function, FunctionArn: string(n.functionARN()), Version: latest, PackageType: "Zip",
		Timeout: defaultTimeout, MemorySize: defaultMemory, Architectures: []string{"x86_64"},
		TracingConfig:    &api.TracingConfigResponse{Mode: "PassThrough"},
		EphemeralStorage: &api.EphemeralStorage{Size: defaultStorage},
		SnapStart:        &api.SnapStartResponse{ApplyOn: "None", OptimizationStatus: "Off"},
		LoggingConfig:    &api.LoggingConfig{LogFormat: "Text", LogGroup: "/aws/lambda/" + n.function},
	}}
	if in.Architectures != nil {
		v.Config.Architectures = in.Architectures
	}
	description := in.Description
	if err := v.configure(&settings{
		runtime: in.Runtime, role: in.Role, handler: in.Handler, description: &description, timeout: in.Timeout, memory: in.MemorySize,
		vpc: in.VpcConfig, deadLetters: in.DeadLetterConfig, environment: in.Environment, key: in.KMSKeyArn, tracing: in.TracingConfig,
		layers: in.Layers, files: in.FileSystemConfigs, image: in.ImageConfig, storage: in.EphemeralStorage, snap: in.SnapStart,
		logging: in.LoggingConfig, capacity: in.CapacityProviderConfig, durable: in.DurableConfig,
	}); err != nil {
		return nil, err
	}
	if functions.Get(c.State, n.key()) != nil {
		return nil, alreadyExists(n)
	}
	if err := s.assumable(ctx, c, n, in.Role); err != nil {
		return nil, err
	}
	s.kept.RLock()
	defer s.kept.RUnlock()
	if v.Code, err = s.receive(ctx, c, n.account, &in.Code); err != nil {
		return nil, err
	}
	v.changed(c.Time, v.Code)
	published := in.Publish != nil && *in.Publish
	var out api.FunctionConfiguration
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		if functions.Get(tx, n.key()) != nil {
			return alreadyExists(n)
		}
		if err := room(tx, n, v.Code.Size); err != nil {
			return err
		}
		f := &Function{Tags: maps.Clone(in.Tags)}
		made := *v
		out = made.show(n)
		if published {
			number := publish(tx, n, f, &made, nil)
			out = number.show(n)
		}
		functions.Put(tx, n.key(), f)
		versions.Put(tx, versionKey(n, latest), &made)
		return nil
	})
	if err != nil {
		s.sweep(n.account, v.Code.Hash)
		return nil, err
	}
	// The code is there already, but this is what AWS answers: whoever waits for Active waits not at all.
	out.State, out.StateReasonCode, out.StateReason = pending()
	made := api.CreateFunctionOutput(out)
	return &made, nil
}

func pending() (state, code, reason string) {
	return "Pending", "Creating", "The function is being created."
}

func alreadyExists(n name) error {
	return api.ResourceConflict("Function already exist: %s", n.function)
}

// notHere is the answer to a part of a configuration that nothing here could make true.
func notHere(field, what string) error {
	return api.InvalidParameterValue("%s is not supported: iamd has no %s.", field, what)
}

// assumable refuses a role that does not trust Lambda: the role is assumed, once, for the function.
func (s *Service) assumable(ctx context.Context, c *service.Call, n name, role string) error {
	_, err := s.Roles.Assume(ctx, s.use(n, role, c.RequestID))
	if e := (*wire.Error)(nil); errors.As(err, &e) && e.HTTPStatus() < 500 {
		return api.InvalidParameterValue("The role defined for the function cannot be assumed by Lambda.")
	}
	return err
}

// use is how a function uses its role.
func (s *Service) use(n name, role, parent string) servicerole.Use {
	return servicerole.Use{Role: arn.ARN(role), Service: principal, Session: n.function, For: n.functionARN(), Region: n.region, Parent: parent}
}

// room refuses code for which an account has no room.
func room(r store.Reader, n name, more int64) error {
	if size, _ := usage(r, n.account, n.region); size+more > mostCode {
		return api.CodeStorageExceeded("Code storage limit exceeded.")
	}
	return nil
}

// usage is how much code an account has in a region, and how many functions.
func usage(r store.Reader, account, region string) (size, count int64) {
	for range functions.All(r, account+"/"+region+"/") {
		count++
	}
	for _, v := range versions.All(r, account+"/"+region+"/") {
		size += v.Code.Size
	}
	return size, count
}

// settings are what a request says of a configuration; what is zero or nil is not said.
type settings struct {
	runtime, role, handler string
	description            *string
	timeout, memory        *int32
	vpc                    *api.VpcConfig
	deadLetters            *api.DeadLetterConfig
	environment            *api.Environment
	key                    string
	tracing                *api.TracingConfig
	layers                 []string
	files                  []api.FileSystemConfig
	image                  *api.ImageConfig
	storage                *api.EphemeralStorage
	snap                   *api.SnapStart
	logging                *api.LoggingConfig
	capacity               *api.CapacityProviderConfig
	durable                *api.DurableConfig
}

// configure checks what is said and makes it the version's.
func (v *Version) configure(s *settings) error {
	switch {
	case s.vpc != nil && len(s.vpc.SubnetIds)+len(s.vpc.SecurityGroupIds) > 0:
		return notHere("VpcConfig", "VPCs")
	case s.deadLetters != nil && s.deadLetters.TargetArn != "":
		return api.InvalidParameterValue("DeadLetterConfig is not supported: iamd has neither SQS nor SNS. An OnFailure destination of the event invoke config may be a bucket or a function.")
	case s.key != "":
		return notHere("KMSKeyArn", "KMS")
	case len(s.layers) > 0:
		return notHere("Layers", "layers: put what they hold into the function's zip")
	case len(s.files) > 0:
		return notHere("FileSystemConfigs", "EFS")
	case s.image != nil && len(s.image.EntryPoint)+len(s.image.Command)+len(s.image.WorkingDirectory) > 0:
		return notHere("ImageConfig", "container images")
	case s.snap != nil && s.snap.ApplyOn == "PublishedVersions":
		return notHere("SnapStart", "snapshots of environments")
	case s.capacity != nil:
		return notHere("CapacityProviderConfig", "capacity providers")
	case s.durable != nil:
		return notHere("DurableConfig", "durable executions")
	case s.logging != nil && s.logging.LogFormat == "JSON":
		return api.InvalidParameterValue("LogFormat JSON is not supported: iamd writes logs as text.")
	case s.timeout != nil && *s.timeout > longestTimeout:
		return api.Validation("1 validation error detected: Value '%d' at 'timeout' failed to satisfy constraint: Member must have value less than or equal to %d", *s.timeout, longestTimeout)
	case s.memory != nil && *s.memory > largestMemory:
		return api.InvalidParameterValue("'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to %d", largestMemory)
	}
	if err := checkRuntime(s.runtime); err != nil {
		return err
	}
	c := &v.Config
	if s.environment != nil {
		if err := checkEnvironment(s.environment.Variables); err != nil {
			return err
		}
		c.Environment = nil
		if len(s.environment.Variables) > 0 {
			c.Environment = &api.EnvironmentResponse{Variables: maps.Clone(s.environment.Variables)}
		}
	}
	set(&c.Runtime, s.runtime)
	set(&c.Role, s.role)
	set(&c.Handler, s.handler)
	if s.description != nil {
		c.Description = *s.description
	}
	if s.timeout != nil {
		c.Timeout = *s.timeout
	}
	if s.memory != nil {
		c.MemorySize = *s.memory
	}
	if s.tracing != nil && s.tracing.Mode != "" {
		c.TracingConfig = &api.TracingConfigResponse{Mode: s.tracing.Mode}
	}
	if s.storage != nil {
		c.EphemeralStorage = &api.EphemeralStorage{Size: s.storage.Size}
	}
	if s.logging != nil && s.logging.LogGroup != "" {
		c.LoggingConfig = &api.LoggingConfig{LogFormat: "Text", LogGroup: s.logging.LogGroup}
	}
	return nil
}

func set(field *string, value string) {
	if value != "" {
		*field = value
	}
}

// checkEnvironment refuses variables that are Lambda's own, or too many.
func checkEnvironment(vars map[string]string) error {
	text, err := json.Marshal(vars)
	if err != nil {
		return err
	}
	if len(text) > largestEnv {
		return api.InvalidParameterValue("Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the 4KB limit.")
	}
	var taken []string
	for _, k := range sorted(vars) {
		if !variable.MatchString(k) {
			return api.Validation("1 validation error detected: Value at 'environment.variables' failed to satisfy constraint: "+
				"Map keys must satisfy constraint: [Member must satisfy regular expression pattern: %s]", variablePattern)
		}
		if strings.Contains(vars[k], "\x00") {
			return api.InvalidParameterValue("The value of the environment variable %s has a zero byte.", k)
		}
		if reserved[k] {
			taken = append(taken, k)
		}
	}
	if taken != nil {
		return api.InvalidParameterValue("Lambda was unable to configure your environment variables because the environment variables you have provided contains reserved keys "+
			"that are currently not supported for modification. Reserved keys used in this request: %s", strings.Join(taken, ", "))
	}
	return nil
}

// changed marks the version as changed: another revision, and what ran as the old one ends.
func (v *Version) changed(now time.Time, code Code) {
	v.Code, v.Stamp, v.As = code, rand.Text(), ""
	v.Config.CodeSize, v.Config.CodeSha256 = code.Size, code.sha256()
	v.Config.LastModified = now.UTC().Format("2006-01-02T15:04:05.000+0000")
	v.Config.RevisionId = newRevision()
}

// newRevision is a random UUID.
func newRevision() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// show is the version as answers have it, under the ARN by which it was named. Whoever
// sees it adds the states.
func (v *Version) show(n name) api.FunctionConfiguration {
	c := v.Config
	if n.qualifier != "" {
		c.FunctionArn = string(n.arn())
	}
	if c.Environment != nil {
		c.Environment = &api.EnvironmentResponse{Variables: maps.Clone(c.Environment.Variables)}
	}
	return c
}

// active adds the states of what is there.
func active(c api.FunctionConfiguration) api.FunctionConfiguration {
	c.State, c.LastUpdateStatus = "Active", "Successful"
	return c
}

// updating adds the states that AWS answers updates with.
func updating(c api.FunctionConfiguration) api.FunctionConfiguration {
	c.State, c.LastUpdateStatus = "Active", "InProgress"
	c.LastUpdateStatusReasonCode, c.LastUpdateStatusReason = "Creating", "The function is being created."
	return c
}

// checkRevision refuses a change that is based on another revision.
func checkRevision(asked, is string) error {
	if asked != "" && asked != is {
		return api.PreconditionFailed("The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id")
	}
	return nil
}

func (s *Service) updateFunctionCode(ctx context.Context, c *service.Call, in *api.UpdateFunctionCodeInput) (*api.UpdateFunctionCodeOutput, error) {
	n, err := unqualified(c, in.FunctionName)
	if err != nil {
		return nil, err
	}
	if in.PublishTo != "" {
		return nil, notHere("PublishTo", "capacity providers")
	}
	_, old, err := find(c.State, n)
	if err != nil {
		return nil, err
	}
	if err := checkRevision(in.RevisionId, old.Config.RevisionId); err != nil {
		return nil, err
	}
	if in.ImageUri != "" {
		return nil, api.InvalidParameterValue("Please don't provide ImageUri when updating a function with packageType Zip.")
	}
	s.kept.RLock()
	defer s.kept.RUnlock()
	code, err := s.receive(ctx, c, n.account, &api.FunctionCode{ZipFile: in.ZipFile, S3Bucket: in.S3Bucket, S3Key: in.S3Key,
		S3ObjectVersion: in.S3ObjectVersion, SourceKMSKeyArn: in.SourceKMSKeyArn})
	if err != nil {
		return nil, err
	}
	var out api.FunctionConfiguration
	var before string
	change := func(tx *store.Tx) error {
		f, v, err := find(tx, n)
		if err != nil {
			return err
		}
		if err := checkRevision(in.RevisionId, v.Config.RevisionId); err != nil {
			return err
		}
		if err := room(tx, n, code.Size); err != nil {
			return err
		}
		before = v.Code.Hash
		if in.Architectures != nil {
			v.Config.Architectures = in.Architectures
		}
		v.changed(c.Time, code)
		out = updating(v.show(n))
		if in.Publish != nil && *in.Publish {
			made := publish(tx, n, f, v, nil)
			out = updating(made.show(n.with(made.Config.Version)))
			functions.Put(tx, n.key(), f)
		}
		versions.Put(tx, versionKey(n, latest), v)
		if in.DryRun != nil && *in.DryRun {
			return errDryRun
		}
		return nil
	}
	err = s.DB.Update(ctx, change)
	if errors.Is(err, errDryRun) {
		s.sweep(n.account, code.Hash)
	} else if err != nil {
		s.sweep(n.account, code.Hash)
		return nil, err
	} else {
		s.retire(n)
		s.sweep(n.account, before)
	}
	made := api.UpdateFunctionCodeOutput(out)
	return &made, nil
}

var errDryRun = errors.New("only asked")

func (s *Service) updateFunctionConfiguration(ctx context.Context, c *service.Call, in *api.UpdateFunctionConfigurationInput) (*api.UpdateFunctionConfigurationOutput, error) {
	n, err := unqualified(c, in.FunctionName)
	if err != nil {
		return nil, err
	}
	_, old, err := find(c.State, n)
	if err != nil {
		return nil, err
	}
	if err := checkRevision(in.RevisionId, old.Config.RevisionId); err != nil {
		return nil, err
	}
	said := &settings{
		runtime: in.Runtime, role: in.Role, handler: in.Handler, description: in.Description, timeout: in.Timeout, memory: in.MemorySize,
		vpc: in.VpcConfig, deadLetters: in.DeadLetterConfig, environment: in.Environment, key: in.KMSKeyArn, tracing: in.TracingConfig,
		layers: in.Layers, files: in.FileSystemConfigs, image: in.ImageConfig, storage: in.EphemeralStorage, snap: in.SnapStart,
		logging: in.LoggingConfig, capacity: in.CapacityProviderConfig, durable: in.DurableConfig,
	}
	if err := (&Version{}).configure(said); err != nil {
		return nil, err
	}
	if in.Role != "" {
		if err := s.assumable(ctx, c, n, in.Role); err != nil {
			return nil, err
		}
	}
	var out api.FunctionConfiguration
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		_, v, err := find(tx, n)
		if err != nil {
			return err
		}
		if err := checkRevision(in.RevisionId, v.Config.RevisionId); err != nil {
			return err
		}
		if err := v.configure(said); err != nil {
			return err
		}
		v.changed(c.Time, v.Code)
		versions.Put(tx, versionKey(n, latest), v)
		out = updating(v.show(n))
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.retire(n)
	made := api.UpdateFunctionConfigurationOutput(out)
	return &made, nil
}

func (s *Service) getFunction(_ context.Context, c *service.Call, in *api.GetFunctionInput) (*api.GetFunctionOutput, error) {
	n, err := parseName(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	f, v, err := find(c.State, n)
	if err != nil {
		return nil, err
	}
	config := active(v.show(n))
	location, err := s.location(c, n, v.Code)
	if err != nil {
		return nil, err
	}
	out := &api.GetFunctionOutput{Configuration: &config, Code: &api.FunctionCodeLocation{RepositoryType: "S3", Location: location}}
	if len(f.Tags) > 0 {
		out.Tags = f.Tags
	}
	if f.Reserved != nil {
		out.Concurrency = &api.Concurrency{ReservedConcurrentExecutions: f.Reserved}
	}
	return out, nil
}

func (s *Service) getFunctionConfiguration(_ context.Context, c *service.Call, in *api.GetFunctionConfigurationInput) (*api.GetFunctionConfigurationOutput, error) {
	n, err := parseName(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	_, v, err := find(c.State, n)
	if err != nil {
		return nil, err
	}
	out := api.GetFunctionConfigurationOutput(active(v.show(n)))
	return &out, nil
}

func (s *Service) deleteFunction(ctx context.Context, c *service.Call, in *api.DeleteFunctionInput) (*api.DeleteFunctionOutput, error) {
	n, err := parseName(c, in.FunctionName, in.Qualifier)
	if err != nil {
		return nil, err
	}
	switch {
	case n.qualifier == latest:
		return nil, api.InvalidParameterValue("$LATEST version cannot be deleted without deleting the function.")
	case isAlias(n.qualifier):
		return nil, api.InvalidParameterValue("Deletion of aliases is not currently supported.")
	}
	var gone []string
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		gone = nil
		f, err := n.with("").lookup(tx)
		if err != nil {
			return err
		}
		remove := func(key string, v *Version) {
			gone = append(gone, v.Code.Hash)
			versions.Delete(tx, key)
		}
		if n.qualifier != "" {
			if using := f.aliasesOf(n.qualifier); using != nil {
				return api.ResourceConflict("Unable to delete version because the following aliases reference it: [%s]", strings.Join(using, ", "))
			}
			if v := version(tx, n, n.qualifier); v != nil {
				remove(versionKey(n, n.qualifier), v)
			}
			delete(f.Policies, n.qualifier)
			delete(f.Events, n.qualifier)
			functions.Put(tx, n.key(), f)
			return nil
		}
		functions.Delete(tx, n.key())
		for key, v := range versions.All(tx, n.key()+"/") {
			remove(key, v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.retire(n)
	s.sweep(n.account, gone...)
	return &api.DeleteFunctionOutput{StatusCode: 204}, nil
}

// defaultPage is what lists give at once, whatever more is asked for.
const defaultPage = 50

func (s *Service) listFunctions(_ context.Context, c *service.Call, in *api.ListFunctionsInput) (*api.ListFunctionsOutput, error) {
	after, err := readMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	out := &api.ListFunctionsOutput{Functions: []api.FunctionConfiguration{}}
	most := pageSize(in.MaxItems, defaultPage)
	last := ""
	for key, v := range versions.From(c.State, c.Account+"/"+c.Region+"/", after) {
		if in.FunctionVersion == "" && v.Config.Version != latest {
			continue
		}
		if len(out.Functions) == most {
			out.NextMarker = marker(last)
			break
		}
		n, _ := parseARN(arn.ARN(v.Config.FunctionArn))
		if in.FunctionVersion != "" {
			n.qualifier = v.Config.Version
		}
		out.Functions = append(out.Functions, v.show(n))
		last = key
	}
	return out, nil
}
