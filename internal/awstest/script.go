package awstest

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/pquerna/otp/totp"
	"golang.org/x/tools/txtar"

	"github.com/iamd-dev/iamd/internal/audit"
	"github.com/iamd-dev/iamd/internal/docker"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/server"
	"github.com/iamd-dev/iamd/internal/sigv4"
)

// Scripts runs each testdata/*.txt of the package under test as a subtest, in
// parallel. See the package comment for their language.
func Scripts(t *testing.T) { scripts(t, Start, nil) }

// ScriptsBut is Scripts without those that are named in but, with the reason.
func ScriptsBut(t *testing.T, but map[string]string) { scripts(t, Start, but) }

// ScriptsWithEngine is ScriptsBut with a server that has an engine: see StartWithEngine.
func ScriptsWithEngine(t *testing.T, engine *docker.Client, but map[string]string) {
	scripts(t, func(t testing.TB, accounts ...string) *Server { return StartWithEngine(t, engine, accounts...) }, but)
}

// ScriptsBeforeStore is Scripts with a server that keeps S3's objects in another server,
// its upstream: an iamd, too. Scripts that are named in but, with the reason, are left out.
func ScriptsBeforeStore(t *testing.T, but map[string]string) { scripts(t, StartBeforeStore, but) }

func scripts(t *testing.T, start func(testing.TB, ...string) *Server, but map[string]string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("there is no script testdata/*.txt")
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txt")
		t.Run(name, func(t *testing.T) {
			if why := but[name]; why != "" {
				t.Skip(why)
			}
			t.Parallel()
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if err := run(t, start, file, text); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A script is one that runs.
type script struct {
	t      testing.TB
	server *Server
	files  map[string]*file

	account string            // the current one
	actors  map[string]*actor // without roots and anonymous
	actor   *actor
	region  string
	headers http.Header
	vars    map[string]string

	answer output // of the last operation, or what its error says
	body   []byte // of the last answer to an SDK client, but for S3's
	stdout string
	stderr string
}

type file struct {
	text string
	used bool
}

type actor struct {
	name        string
	credentials aws.Credentials
}

// run runs a script; the error says where it stopped and what the last operation answered.
func run(t testing.TB, start func(testing.TB, ...string) *Server, name string, text []byte) error {
	archive := txtar.Parse(text)
	s := &script{
		t:       t,
		files:   map[string]*file{},
		actors:  map[string]*actor{},
		region:  "us-east-1",
		headers: http.Header{},
		vars:    map[string]string{},
	}
	for _, f := range archive.Files {
		if s.files[f.Name] != nil {
			return fmt.Errorf("%s: the file %s is there twice", name, f.Name)
		}
		s.files[f.Name] = &file{text: string(f.Data)}
	}
	var accounts []string
	for line := range strings.Lines(string(archive.Comment)) {
		if w := strings.Fields(line); len(w) == 2 && w[0] == "account" && !slices.Contains(accounts, w[1]) {
			if !identity.ValidAccount(w[1]) {
				return fmt.Errorf("%s: %s is not an account id", name, w[1])
			}
			accounts = append(accounts, w[1])
		}
	}
	if len(accounts) == 0 {
		accounts = []string{DefaultAccount}
	}
	s.server = start(t, accounts...)
	s.account = accounts[0]
	s.actor = s.root(s.account)
	_, s.vars["issuer"], _ = strings.Cut(s.server.Issuer(), "://")
	if strings.Contains(string(archive.Comment), "$saml_metadata") {
		s.vars["saml_metadata"], s.vars["saml_key"] = samlProvider().Metadata(), samlReader().PEM()
	}

	n := 0
	for line := range strings.Lines(string(archive.Comment)) {
		n++
		if err := s.line(line); err != nil {
			return fmt.Errorf("%s:%d: %s\n\t%w%s", name, n, strings.TrimSpace(line), err, s.last())
		}
	}
	for _, f := range slices.Sorted(maps.Keys(s.files)) {
		if !s.files[f].used {
			return fmt.Errorf("%s: nothing uses the file %s", name, f)
		}
	}
	return nil
}

// last is what the last operation answered, for a failure's text.
func (s *script) last() string {
	var b strings.Builder
	for _, answer := range []string{s.stdout, s.stderr} {
		for line := range strings.Lines(answer) {
			b.WriteString("\n\t| " + strings.TrimSuffix(line, "\n"))
		}
	}
	return b.String()
}

// A command is a word that a line can begin with. fail tells that the line has a !.
type command struct {
	run  func(s *script, fail bool, args []string) error
	bang bool // may stand after !
	min  int  // how many arguments it takes
	max  int  // -1: any number
}

var commands = map[string]command{
	"organizations":   {func(s *script, fail bool, a []string) error { return s.operation("organizations", fail, a) }, true, 1, -1},
	"cloudformation":  {func(s *script, fail bool, a []string) error { return s.operation("cloudformation", fail, a) }, true, 1, -1},
	"codebuild":       {func(s *script, fail bool, a []string) error { return s.operation("codebuild", fail, a) }, true, 1, -1},
	"codepipeline":    {func(s *script, fail bool, a []string) error { return s.operation("codepipeline", fail, a) }, true, 1, -1},
	"dynamodb":        {func(s *script, fail bool, a []string) error { return s.operation("dynamodb", fail, a) }, true, 1, -1},
	"dynamodbstreams": {func(s *script, fail bool, a []string) error { return s.operation("dynamodbstreams", fail, a) }, true, 1, -1},
	"ecs":             {func(s *script, fail bool, a []string) error { return s.operation("ecs", fail, a) }, true, 1, -1},
	"lambda":          {func(s *script, fail bool, a []string) error { return s.operation("lambda", fail, a) }, true, 1, -1},
	"ssm":             {func(s *script, fail bool, a []string) error { return s.operation("ssm", fail, a) }, true, 1, -1},
	"iam":             {func(s *script, fail bool, a []string) error { return s.operation("iam", fail, a) }, true, 1, -1},
	"sts":             {func(s *script, fail bool, a []string) error { return s.operation("sts", fail, a) }, true, 1, -1},
	"s3":              {func(s *script, fail bool, a []string) error { return s.operation("s3", fail, a) }, true, 1, -1},
	"ec2":             {(*script).ec2, true, 1, -1},
	"form":            {(*script).form, true, 1, -1},
	"account":         {(*script).setAccount, false, 1, 1},
	"as":              {(*script).as, false, 1, 1},
	"key":             {(*script).key, false, 1, 2},
	"assume":          {(*script).assume, true, 2, -1},
	"actor":           {(*script).newActor, false, 1, 4},
	"token":           {(*script).token, false, 1, -1},
	"assertion":       {(*script).assertion, false, 1, -1},
	"stdout":          {func(s *script, fail bool, a []string) error { return match("stdout", s.stdout, fail, a) }, true, 1, 2},
	"stderr":          {func(s *script, fail bool, a []string) error { return match("stderr", s.stderr, fail, a) }, true, 1, 2},
	"cmp":             {(*script).compare, false, 2, 2},
	"error":           {(*script).error, false, 2, 3},
	"shape":           {(*script).shape, false, 0, 1},
	"set":             {(*script).set, false, 1, 1},
	"advance":         {(*script).advance, false, 1, 1},
	"providers":       {(*script).providers, true, 1, 1},
	"topics":          {(*script).setTopics, false, 1, 1},
	"notified":        {(*script).notified, true, 0, 0},
	"restart":         {func(s *script, _ bool, _ []string) error { s.server.Restart(); return nil }, false, 0, 0},
	"totp":            {(*script).totp, false, 2, 3},
	"region":          {func(s *script, _ bool, a []string) error { s.region = a[0]; return nil }, false, 1, 1},
	"header":          {(*script).header, false, 0, -1},
	"presign":         {(*script).presign, false, 2, -1},
	"http":            {(*script).http, false, 2, -1},
	"zip":             {(*script).zip, false, 2, -1},
	"until":           {(*script).until, false, 3, -1},
	"explain":         {(*script).explain, false, 0, 0},
	"audit":           {(*script).audit, false, 0, 0},
}

func (s *script) line(line string) error {
	args, err := s.words(line)
	if err != nil || len(args) == 0 {
		return err
	}
	fail := args[0] == "!"
	if fail {
		if args = args[1:]; len(args) == 0 {
			return errors.New("a ! stands before a command")
		}
	}
	name := args[0]
	c, ok := commands[name]
	switch args = args[1:]; {
	case !ok:
		return fmt.Errorf("unknown command %q; there are %s", name, strings.Join(slices.Sorted(maps.Keys(commands)), ", "))
	case fail && !c.bang:
		return fmt.Errorf("a ! cannot stand before %s", name)
	case len(args) < c.min || c.max >= 0 && len(args) > c.max:
		return fmt.Errorf("%s does not take %d arguments", name, len(args))
	}
	return c.run(s, fail, args)
}

// words splits a line as the package comment says.
func (s *script) words(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	in, quoted := false, false // in a word, in quotes
	end := func() {
		if in {
			words = append(words, word.String())
			word.Reset()
			in = false
		}
	}
	line = strings.TrimRight(line, "\r\n")
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\'' && quoted && i+1 < len(line) && line[i+1] == '\'':
			word.WriteByte(c)
			i++
		case c == '\'':
			quoted, in = !quoted, true
		case quoted:
			word.WriteByte(c)
		case c == ' ' || c == '\t':
			end()
		case c == '#' && !in && len(words) == 0:
			return nil, nil
		case c == '$':
			name := variable.FindString(line[i:])
			if name == "" {
				word.WriteByte(c)
				in = true
				break
			}
			value, ok := s.vars[strings.Trim(name, "${}")]
			if !ok {
				return nil, fmt.Errorf("%s is not set", name)
			}
			word.WriteString(value)
			in = true
			i += len(name) - 1
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if quoted {
		return nil, errors.New("a quotation does not end")
	}
	end()
	return words, nil
}

var variable = regexp.MustCompile(`^\$([A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\})`)

func (s *script) root(account string) *actor {
	return &actor{rootName + "@" + account, s.server.Root(account)}
}

const (
	rootName      = "root"
	anonymousName = "anonymous"
)

func (s *script) setAccount(_ bool, args []string) error {
	s.account = args[0]
	s.actor = s.root(s.account)
	return nil
}

func (s *script) as(_ bool, args []string) error {
	name := args[0]
	account, isRoot := strings.CutPrefix(name, rootName+"@")
	switch {
	case name == rootName:
		s.actor = s.root(s.account)
	case isRoot && slices.Contains(s.server.accounts, account):
		s.actor = s.root(account)
	case name == anonymousName:
		s.actor = &actor{name: anonymousName}
	case s.actors[name] != nil:
		s.actor = s.actors[name]
	default:
		return fmt.Errorf("nobody is called %s; there are %s", name, strings.Join(append(slices.Sorted(maps.Keys(s.actors)), rootName, anonymousName), ", "))
	}
	return nil
}

// operation calls an operation by its name, with parameters by theirs.
func (s *script) operation(service string, fail bool, args []string) error {
	if service == "ec2" {
		return s.ec2(fail, args)
	}
	client := s.client(service)
	method, in, err := s.input(client, args[0], args[1:])
	if err != nil {
		return fmt.Errorf("%s: %w", service, err)
	}
	results := method.Call([]reflect.Value{reflect.ValueOf(s.t.Context()), in})
	failure, _ := results[1].Interface().(error)
	if failure == nil {
		s.answer, failure = flatten(results[0].Interface())
		if id, ok := requestID(results[0].Elem()); ok {
			s.vars["RequestId"] = id
		}
	}
	return s.answered(fail, failure)
}

// answered keeps what an operation answered and says whether that is as expected.
func (s *script) answered(fail bool, failure error) error {
	if failure == nil {
		s.stdout, s.stderr = s.answer.String(), ""
		if fail {
			return errors.New("it was not refused")
		}
		return nil
	}
	var response *smithyhttp.ResponseError
	if !errors.As(failure, &response) || response.Response == nil {
		s.stdout, s.stderr = "", failure.Error()+"\n"
		return fmt.Errorf("the server was not asked, or did not answer: %w", failure)
	}
	code, message := "", failure.Error()
	var known smithy.APIError
	if errors.As(failure, &known) {
		code, message = known.ErrorCode(), known.ErrorMessage()
	}
	id := ""
	for _, name := range []string{"X-Amzn-Requestid", "X-Amz-Request-Id"} {
		if id == "" {
			id = response.Response.Header.Get(name)
		}
	}
	return s.refused(fail, code, message, response.HTTPStatusCode(), id)
}

// untilWait is how long until waits.
const untilWait = time.Minute

// until repeats an operation until its answer matches.
func (s *script) until(_ bool, args []string) error {
	re, err := regexp.Compile("(?m)" + args[0])
	if err != nil {
		return err
	}
	for end := time.Now().Add(untilWait); ; time.Sleep(20 * time.Millisecond) {
		if err := s.operation(args[1], false, args[2:]); err != nil {
			return err
		}
		if re.MatchString(s.stdout) {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("after %v nothing matches %q", untilWait, args[0])
		}
	}
}

// refused keeps what an operation was refused with and says whether that is as expected.
func (s *script) refused(fail bool, code, message string, status int, id string) error {
	s.answer = output{{"Code", code}, {"Message", message}, {"Status", strconv.Itoa(status)}, {"RequestId", id}}
	s.vars["RequestId"] = id
	s.stdout, s.stderr = "", code+": "+message+"\n"+s.answer[2:].String()
	if !fail {
		return errors.New("it was refused")
	}
	return nil
}

func (s *script) config() aws.Config {
	cfg := s.server.Config(s.actor.credentials)
	cfg.Region = s.region
	cfg.HTTPClient = client{s, s.headers.Clone()}
	return cfg
}

func (s *script) client(service string) any {
	switch service {
	case "iam":
		return s.server.IAM(s.config())
	case "sts":
		return s.server.STS(s.config())
	case "organizations":
		return s.server.Organizations(s.config())
	case "codebuild":
		return s.server.CodeBuild(s.config())
	case "codepipeline":
		return s.server.CodePipeline(s.config())
	case "dynamodb":
		return s.server.DynamoDB(s.config())
	case "dynamodbstreams":
		return s.server.DynamoDBStreams(s.config())
	case "lambda":
		return s.server.Lambda(s.config())
	case "cloudformation":
		return s.server.CloudFormation(s.config())
	case "ssm":
		return s.server.SSM(s.config())
	case "ecs":
		return s.server.ECS(s.config())
	}
	return s.server.S3(s.config())
}

// A client adds headers to requests that are signed already, and keeps what is
// answered, but for S3, whose answers are streams.
type client struct {
	*script
	headers http.Header
}

func (c client) Do(r *http.Request) (*http.Response, error) {
	maps.Copy(r.Header, c.headers)
	response, err := c.server.client.Do(r)
	c.body = nil
	if err != nil || !strings.HasPrefix(response.Header.Get("Content-Type"), "text/xml") {
		return response, err
	}
	c.body, err = io.ReadAll(response.Body)
	response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(c.body))
	return response, err
}

// input finds a method of a client that takes a context and a pointer to an input, and makes the input.
func (s *script) input(client any, name string, args []string) (method, in reflect.Value, err error) {
	method = reflect.ValueOf(client).MethodByName(name)
	if !method.IsValid() || method.Type().NumIn() != 3 || method.Type().NumOut() != 2 {
		return method, in, fmt.Errorf("there is no operation %s", name)
	}
	in = reflect.New(method.Type().In(1).Elem())
	for _, arg := range args {
		path, value, ok := strings.Cut(arg, "=")
		if !ok {
			return method, in, fmt.Errorf("%q is not of the form PARAMETER=VALUE", arg)
		}
		if f, ok := strings.CutPrefix(value, "@"); ok {
			if value, err = s.file(f); err != nil {
				return method, in, err
			}
		}
		if err := setParameter(in.Interface(), path, value); err != nil {
			return method, in, err
		}
	}
	return method, in, nil
}

// file returns the content of a file of the archive, without the line's end after the last line.
func (s *script) file(name string) (string, error) {
	f := s.files[name]
	if f == nil {
		return "", fmt.Errorf("the archive has no file %s", name)
	}
	f.used = true
	return strings.TrimSuffix(f.text, "\n"), nil
}

// zip makes a file of the archive that is a zip of others.
func (s *script) zip(_ bool, args []string) error {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, arg := range args[1:] {
		name, from, ok := strings.Cut(arg, "=")
		if !ok {
			from = name
		}
		text, err := s.file(from)
		if err != nil {
			return err
		}
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		h.SetMode(0o755)
		w, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	s.files[args[0]] = &file{text: b.String()}
	return nil
}

// requestID finds the request id in an SDK output's metadata.
func requestID(out reflect.Value) (string, bool) {
	m := out.FieldByName("ResultMetadata")
	if !m.IsValid() {
		return "", false
	}
	metadata, ok := m.Interface().(middleware.Metadata)
	if !ok {
		return "", false
	}
	return awsmiddleware.GetRequestIDMetadata(metadata)
}

func (s *script) key(_ bool, args []string) error {
	user, name := args[0], args[len(args)-1]
	before := s.actor
	s.actor = s.root(s.account)
	err := s.operation("iam", false, []string{"CreateAccessKey", "UserName=" + user})
	s.actor = before
	if err != nil {
		return err
	}
	return s.newActor(false, []string{name})
}

func (s *script) assume(fail bool, args []string) error {
	call := []string{"AssumeRole", "RoleArn=" + args[1]}
	session := args[0]
	for _, a := range args[2:] {
		if name, ok := strings.CutPrefix(a, "session="); ok {
			session = name
		} else {
			call = append(call, a)
		}
	}
	if err := s.operation("sts", fail, append(call, "RoleSessionName="+session)); err != nil || fail {
		return err
	}
	return s.newActor(false, args[:1])
}

// newActor makes an actor from credentials that are given or in the last output.
func (s *script) newActor(_ bool, args []string) error {
	name := args[0]
	if name == rootName || name == anonymousName || strings.HasPrefix(name, rootName+"@") {
		return fmt.Errorf("%s is somebody else", name)
	}
	var c aws.Credentials
	for _, arg := range args[1:] {
		path, value, _ := strings.Cut(arg, "=")
		switch path {
		case "AccessKeyId":
			c.AccessKeyID = value
		case "SecretAccessKey":
			c.SecretAccessKey = value
		case "SessionToken":
			c.SessionToken = value
		default:
			return fmt.Errorf("credentials have no %s", path)
		}
	}
	for _, prefix := range []string{"Credentials.", "AccessKey."} {
		if len(args) == 1 && c.AccessKeyID == "" {
			c.AccessKeyID, _ = s.answer.get(prefix + "AccessKeyId")
			c.SecretAccessKey, _ = s.answer.get(prefix + "SecretAccessKey")
			c.SessionToken, _ = s.answer.get(prefix + "SessionToken")
		}
	}
	if c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return errors.New("there are no credentials in the last output")
	}
	s.actors[name] = &actor{name, c}
	return nil
}

func match(name, text string, not bool, args []string) error {
	count := -1
	if n, ok := strings.CutPrefix(args[0], "-count="); ok {
		var err error
		if count, err = strconv.Atoi(n); err != nil || len(args) != 2 || not {
			return errors.New("the form is -count=N REGEXP, with no ! before it")
		}
	} else if len(args) != 1 {
		return fmt.Errorf("%s takes one regular expression; has it white space, it stands in quotes", name)
	}
	pattern := args[len(args)-1]
	re, err := regexp.Compile("(?m)" + pattern)
	if err != nil {
		return err
	}
	n := len(re.FindAllStringIndex(text, -1))
	switch {
	case count >= 0 && n != count:
		return fmt.Errorf("%s matches %q %d times, not %d", name, pattern, n, count)
	case count < 0 && !not && n == 0:
		return fmt.Errorf("%s does not match %q", name, pattern)
	case not && n > 0:
		return fmt.Errorf("%s matches %q", name, pattern)
	}
	return nil
}

func (s *script) compare(_ bool, args []string) error {
	got := s.stdout
	switch args[0] {
	case "stdout":
	case "stderr":
		got = s.stderr
	default:
		return fmt.Errorf("cmp compares stdout or stderr, not %s", args[0])
	}
	want, err := s.file(args[1])
	if err != nil {
		return err
	}
	if strings.TrimSuffix(got, "\n") != want {
		return fmt.Errorf("%s is not what is in %s", args[0], args[1])
	}
	return nil
}

// form sends a signed form of the Query protocol, as no client would write it.
func (s *script) form(fail bool, args []string) error {
	pairs := make([]string, 0, len(args))
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		if f, ok := strings.CutPrefix(value, "@"); ok {
			var err error
			if value, err = s.file(f); err != nil {
				return err
			}
		}
		pairs = append(pairs, url.QueryEscape(name)+"="+url.QueryEscape(value))
	}
	body := []byte(strings.Join(pairs, "&"))
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.server.URL+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = s.headers.Clone()
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if who := s.actor.credentials; who.AccessKeyID != "" {
		signer := sigv4.Signer{AccessKeyID: who.AccessKeyID, SecretAccessKey: who.SecretAccessKey, SessionToken: who.SessionToken, Region: s.region, Service: args[0]}
		signer.Sign(r, sigv4.Hash(body), s.server.Now())
	}
	response, err := client{s, http.Header{}}.Do(r)
	if err != nil {
		return err
	}
	id := response.Header.Get("X-Amzn-Requestid")
	s.vars["RequestId"] = id
	if response.StatusCode == http.StatusOK {
		lines, err := elements(s.body)
		if err != nil {
			return err
		}
		s.answer = nil
		for _, line := range lines {
			path, value, _ := strings.Cut(line, "=")
			s.answer = append(s.answer, pair{path, value})
		}
		return s.answered(fail, nil)
	}
	var failure struct {
		Error struct{ Code, Message string }
	}
	if err := xml.Unmarshal(s.body, &failure); err != nil {
		return fmt.Errorf("%s: %w", response.Status, err)
	}
	return s.refused(fail, failure.Error.Code, failure.Error.Message, response.StatusCode, id)
}

// error compares all that the last operation was refused with.
func (s *script) error(_ bool, args []string) error {
	code, refused := s.answer.get("Code")
	status, _ := s.answer.get("Status")
	message, _ := s.answer.get("Message")
	if want := append(args, "")[:3]; !refused || s.stderr == "" || !slices.Equal([]string{status, code, message}, want) {
		return fmt.Errorf("it was not refused with\n\t%s %s: %s", want[0], want[1], want[2])
	}
	return nil
}

// shape compares the elements of the last answer, and not only their values: what is
// there and empty differs from what is not there.
func (s *script) shape(_ bool, args []string) error {
	if s.stderr != "" {
		return errors.New("the last operation was refused")
	}
	got, err := elements(s.body)
	if err != nil {
		return err
	}
	var want []string
	if len(args) > 0 {
		text, err := s.file(args[0])
		if err != nil {
			return err
		}
		want = strings.Split(text, "\n")
	}
	slices.Sort(got)
	slices.Sort(want)
	var b strings.Builder
	for len(got) > 0 || len(want) > 0 {
		switch {
		case len(got) > 0 && len(want) > 0 && like(got[0], want[0]):
			got, want = got[1:], want[1:]
		case len(want) == 0 || len(got) > 0 && path(got[0]) <= path(want[0]):
			b.WriteString("\n\tit has " + got[0])
			if len(want) > 0 && path(got[0]) == path(want[0]) {
				b.WriteString("\n\t   not " + want[0])
				want = want[1:]
			}
			got = got[1:]
		default:
			b.WriteString("\n\tit does not have " + want[0])
			want = want[1:]
		}
	}
	if b.Len() > 0 {
		return errors.New("the answer has another shape" + b.String())
	}
	return nil
}

func path(line string) string {
	path, _, _ := strings.Cut(line, "=")
	return path
}

// like reports whether a text is a pattern in which ... stands for one character or more.
func like(text, pattern string) bool {
	parts := strings.Split(pattern, "...")
	if len(parts) == 1 {
		return text == pattern
	}
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`(?s)\A` + strings.Join(parts, ".+") + `\z`).MatchString(text)
}

func (s *script) set(_ bool, args []string) error {
	name, path, ok := strings.Cut(args[0], "=")
	if !ok || variable.FindString("$"+name) != "$"+name {
		return errors.New("the form is set NAME=PATH")
	}
	value, ok := s.answer.get(path)
	if !ok {
		return fmt.Errorf("the last output has no %s", path)
	}
	s.vars[name] = value
	return nil
}

func (s *script) advance(_ bool, args []string) error {
	d, err := time.ParseDuration(args[0])
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a time to go forward, such as 1h30m", args[0])
	}
	s.server.Advance(d)
	return nil
}

// totp computes what an authenticator app with the seed shows.
func (s *script) totp(_ bool, args []string) error {
	name, at := args[0], s.server.Now()
	if variable.FindString("$"+name) != "$"+name {
		return fmt.Errorf("%s cannot name a variable", name)
	}
	if len(args) == 3 {
		d, err := time.ParseDuration(args[2])
		if err != nil {
			return fmt.Errorf("%q is not a time from now, such as 30s or -1m", args[2])
		}
		at = at.Add(d)
	}
	code, err := totp.GenerateCode(args[1], at)
	if err != nil {
		return err
	}
	s.vars[name] = code
	return nil
}

func (s *script) header(_ bool, args []string) error {
	s.headers = http.Header{}
	return addHeaders(s.headers, args)
}

func addHeaders(h http.Header, args []string) error {
	for _, arg := range args {
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is not of the form NAME=VALUE", arg)
		}
		h.Add(name, value)
	}
	return nil
}

func (s *script) presign(_ bool, args []string) error {
	client := s3.NewPresignClient(s.server.S3(s.config()), func(o *s3.PresignOptions) { o.Presigner = s.server.signer(true) })
	var options []reflect.Value
	parameters := slices.DeleteFunc(slices.Clone(args[2:]), func(arg string) bool {
		text, ok := strings.CutPrefix(arg, "expires=")
		if d, err := time.ParseDuration(text); ok && err == nil {
			options = append(options, reflect.ValueOf(func(o *s3.PresignOptions) { o.Expires = d }))
			return true
		}
		return false
	})
	method, in, err := s.input(client, "Presign"+args[1], parameters)
	if err != nil {
		return err
	}
	results := method.Call(append([]reflect.Value{reflect.ValueOf(s.t.Context()), in}, options...))
	if err, _ := results[1].Interface().(error); err != nil {
		return err
	}
	s.vars[args[0]] = results[0].Elem().FieldByName("URL").String()
	return nil
}

func (s *script) http(_ bool, args []string) error {
	target := args[1]
	if strings.HasPrefix(target, "/") {
		target = s.server.URL + target
	}
	if !strings.HasPrefix(target, s.server.URL+"/") {
		return fmt.Errorf("%s is not of the server", target)
	}
	headers, body := s.headers.Clone(), []byte(nil)
	for _, arg := range args[2:] {
		if f, ok := strings.CutPrefix(arg, "@"); ok {
			text, err := s.file(f)
			if err != nil {
				return err
			}
			body = []byte(text)
		} else if err := addHeaders(headers, []string{arg}); err != nil {
			return err
		}
	}
	r, err := http.NewRequestWithContext(s.t.Context(), args[0], target, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header = headers
	if host := headers.Get("Host"); host != "" {
		r.Host = host
	}
	response, err := s.server.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	s.answer = output{{"Status", strconv.Itoa(response.StatusCode)}}
	for _, name := range slices.Sorted(maps.Keys(response.Header)) {
		s.answer = append(s.answer, pair{name, strings.Join(response.Header[name], ", ")})
	}
	s.answer = append(s.answer, pair{"Body", printable(text)})
	s.stdout, s.stderr = s.answer.String(), ""
	return nil
}

// explain asks why the last operation was allowed or refused.
func (s *script) explain(_ bool, _ []string) error {
	id, ok := s.vars["RequestId"]
	if !ok {
		return errors.New("no operation has been called")
	}
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.server.URL+"/authorization-details/"+id, nil)
	if err != nil {
		return err
	}
	root := s.server.Root(s.account)
	signer := sigv4.Signer{AccessKeyID: root.AccessKeyID, SecretAccessKey: root.SecretAccessKey, Region: "us-east-1", Service: "iam-toolbox"}
	signer.Sign(r, sigv4.Hash(nil), s.server.Now())
	response, err := s.server.client.Do(r)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, text)
	}
	var details server.Details
	if err := json.Unmarshal(text, &details); err != nil {
		return err
	}
	var b strings.Builder
	for i, x := range details.Explanations {
		if i > 0 {
			b.WriteString("\n")
		}
		if err := x.WriteText(&b, false); err != nil {
			return err
		}
	}
	s.stdout, s.stderr = b.String(), ""
	return nil
}

// audit shows the audit records of the last operation.
func (s *script) audit(_ bool, _ []string) error {
	id, ok := s.vars["RequestId"]
	if !ok {
		return errors.New("no operation has been called")
	}
	if err := s.server.audit.Flush(s.t.Context()); err != nil {
		return err
	}
	var records []any
	for entry, err := range audit.Read(filepath.Join(s.server.Dir, "audit"), audit.Filter{RequestID: id}) {
		if err != nil {
			return err
		}
		var record map[string]any
		d := json.NewDecoder(bytes.NewReader(entry.Raw))
		d.UseNumber()
		if err := d.Decode(&record); err != nil {
			return err
		}
		records = append(records, record)
	}
	slices.Reverse(records) // the first written first
	if len(records) == 0 {
		return fmt.Errorf("there is no audit record of request %s", id)
	}
	var err error
	if s.answer, err = flatten(records); err != nil {
		return err
	}
	s.stdout, s.stderr = s.answer.String(), ""
	return nil
}
