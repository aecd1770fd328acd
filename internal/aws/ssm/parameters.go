package ssm

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/iamd-dev/iamd/internal/aws/ssm/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A Parameter is what is kept of a parameter, its newest version included.
type Parameter struct {
	Name   string           // as it was made
	Oldest int64            // the oldest version that is still there
	Labels map[string]int64 `json:",omitempty"` // the version that has the label
	Tags   []api.Tag        `json:",omitempty"`
	Newest Revision
}

// A Revision is a version of a parameter.
type Revision struct {
	Version        int64
	Type           string
	Value          string // sealed where Type is SecureString
	KeyID          string `json:",omitempty"`
	Description    string `json:",omitempty"`
	AllowedPattern string `json:",omitempty"`
	Tier           string
	DataType       string
	Modified       time.Time
	By             string // ARN of who made it
}

var (
	parameters = store.NewTable[Parameter]("ssm-parameters")         // by place.key
	revisions  = store.NewTable[Revision]("ssm-parameter-revisions") // but the newest, by revisionKey
)

func revisionKey(key string, version int64) string { return fmt.Sprintf("%s:%010d", key, version) }

// labelsOf are the labels of a version, in order.
func (p *Parameter) labelsOf(version int64) []string {
	var labels []string
	for _, l := range slices.Sorted(maps.Keys(p.Labels)) {
		if p.Labels[l] == version {
			labels = append(labels, l)
		}
	}
	return labels
}

// revision is a version of the parameter; nil when it is not there any more, or not yet.
func (p *Parameter) revision(r store.Reader, key string, version int64) *Revision {
	if version == p.Newest.Version {
		return &p.Newest
	}
	return revisions.Get(r, revisionKey(key, version))
}

const (
	secure       = "SecureString"
	managedKey   = "alias/aws/ssm" // which seals what names no key; AWS lets whoever may read the parameter use it
	mostVersions = 100
	mostLabels   = 10
	mostTags     = 50

	standard, advanced         = "Standard", "Advanced"
	standardSize, advancedSize = 4096, 8192
	mostStandard, mostAdvanced = 10_000, 100_000
)

// sealedAs is the name under which the vault seals the value of a version.
func sealedAs(key string, version int64) string { return "ssm:" + revisionKey(key, version) }

func notFound() error { return api.ParameterNotFound("") } // AWS says no more

func noVersion(version, name string) error {
	return api.ParameterVersionNotFound("Systems Manager could not find version %s of %s. Verify the version and try again.", version, name)
}

// putParameter makes a parameter or a version of it.
func (s *Service) putParameter(ctx context.Context, c *service.Call, in *api.PutParameterInput) (*api.PutParameterOutput, error) {
	in.Name = strings.TrimSpace(in.Name)
	at := place{account: c.Account, region: c.Region, name: in.Name}
	if err := at.mayBe(); err != nil {
		return nil, err
	}
	overwrite := is(in.Overwrite)
	switch {
	case in.Value == "":
		return nil, api.Validation("1 validation error detected: Value at 'value' failed to satisfy constraint: Member must have length greater than or equal to 1.")
	case strings.Contains(in.Value, "{{"):
		return nil, api.Validation(`Parameter value can't nest another parameter. Do not use "{{}}" in the value.`)
	case overwrite && len(in.Tags) > 0:
		return nil, api.Validation("Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or RemoveTagsFromResource.")
	case in.Policies != "" && in.Policies != "[]" && in.Policies != "[{}]":
		return nil, &wire.Error{Code: "NotImplemented", Status: 501, Message: "iamd does not implement parameter policies: nothing would expire or notify."}
	case in.DataType != "" && in.DataType != "text" && in.DataType != "aws:ec2:image":
		return nil, api.Validation("The following data type is not supported: %s (Data type names are all lowercase.)", in.DataType)
	}
	tags, err := withTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	var pattern *regexp.Regexp
	if in.AllowedPattern != "" {
		if pattern, err = regexp.Compile(`^(?:` + in.AllowedPattern + `)$`); err != nil {
			return nil, api.InvalidAllowedPattern("The request doesn't meet the regular expression requirement.")
		}
	}

	key := at.key()
	if err := s.room(c, key, in.Tier); err != nil {
		return nil, err
	}
	out := &api.PutParameterOutput{}
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		p := parameters.Get(tx, key)
		r := Revision{Version: 1, Type: in.Type, KeyID: in.KeyId, Description: in.Description, AllowedPattern: in.AllowedPattern,
			DataType: in.DataType, Tier: in.Tier, Modified: c.Time.UTC().Truncate(time.Millisecond), By: string(c.Caller.ARN)}
		switch {
		case p == nil && in.Type == "":
			return api.Validation("A parameter type is required when you create a parameter.")
		case p == nil:
			p = &Parameter{Name: in.Name, Oldest: 1, Tags: tags}
		case !overwrite:
			return api.ParameterAlreadyExists("The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
		default:
			old := p.Newest
			r.Version = old.Version + 1
			if err := r.follow(&old, in.Name); err != nil {
				return err
			}
			revisions.Put(tx, revisionKey(key, old.Version), &old)
			if r.Version-p.Oldest >= mostVersions {
				if len(p.labelsOf(p.Oldest)) > 0 {
					return api.ParameterMaxVersionLimitExceeded("You attempted to create a new version of %s by calling the PutParameter API with the overwrite flag. Version %d, the oldest version, can't be deleted because it has a label associated with it. Move the label to another version of the parameter, and try again.", in.Name, p.Oldest)
				}
				revisions.Delete(tx, revisionKey(key, p.Oldest))
				p.Oldest++
			}
		}
		match := pattern
		if match == nil && r.AllowedPattern != "" { // the one that the parameter has, which was compiled before
			match = regexp.MustCompile(`^(?:` + r.AllowedPattern + `)$`)
		}
		if match != nil && !match.MatchString(in.Value) {
			return api.ParameterPatternMismatch("Parameter value, cannot be validated against allowedPattern: %s", r.AllowedPattern)
		}
		if err := r.complete(in.Value); err != nil {
			return err
		}
		r.Value = in.Value
		if r.Type == secure {
			r.Value = s.Keyring.Keep(sealedAs(key, r.Version), identity.NewSecret(in.Value))
		}
		p.Newest = r
		parameters.Put(tx, key, p)
		*out = api.PutParameterOutput{Version: r.Version, Tier: r.Tier}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// follow takes from the version before what the new one does not say.
func (r *Revision) follow(old *Revision, name string) error {
	if r.Type == "" {
		r.Type = old.Type
	}
	if r.Type != old.Type && strings.Contains(strings.TrimPrefix(name, "/"), "/") {
		return api.HierarchyTypeMismatch("Parameter Store doesn't support changing a parameter type in a hierarchy. For example, you can't change a parameter from a String type to a SecureString type. You must create a new, unique parameter.")
	}
	for _, f := range []struct {
		new *string
		old string
	}{{&r.Description, old.Description}, {&r.AllowedPattern, old.AllowedPattern}, {&r.DataType, old.DataType}} {
		if *f.new == "" {
			*f.new = f.old
		}
	}
	if r.KeyID == "" && r.Type == secure {
		r.KeyID = old.KeyID
	}
	switch {
	case r.Tier == "":
		r.Tier = old.Tier
	case r.Tier == standard && old.Tier == advanced:
		return api.Validation("This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the advanced-parameter tier to the standard-parameter tier. If necessary, you can delete the advanced parameter and recreate it as a standard parameter.")
	case r.Tier != standard && old.Tier == advanced:
		r.Tier = advanced
	}
	return nil
}

// complete gives a version what nobody said, and sees that it can be.
func (r *Revision) complete(value string) error {
	if r.DataType == "" {
		r.DataType = "text"
	}
	switch {
	case r.Type == secure && r.KeyID == "":
		r.KeyID = managedKey
	case r.Type == secure && r.KeyID != managedKey: // iamd has no keys of customers
		return api.InvalidKeyId("Invalid keyId %s", r.KeyID)
	case r.Type != secure && r.KeyID != "":
		return api.Validation("KeyId is required for SecureString type parameter only.")
	}
	size := utf8.RuneCountInString(value)
	switch r.Tier {
	case "":
		r.Tier = standard
	case "Intelligent-Tiering":
		r.Tier = standard
		if size > standardSize {
			r.Tier = advanced
		}
	}
	switch {
	case r.Tier == standard && size > standardSize:
		return api.Validation("Standard tier parameters support a maximum parameter value of %d characters. To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html", standardSize)
	case size > advancedSize:
		return api.Validation("Advanced tier parameters support a maximum parameter value of %d characters.", advancedSize)
	}
	return nil
}

// room sees that there is room for one parameter more, where key is a new one.
func (s *Service) room(c *service.Call, key, tier string) error {
	if parameters.Get(c.State, key) != nil {
		return nil
	}
	most, n := mostStandard, 0
	if tier == advanced {
		most = mostAdvanced
	}
	for _, p := range parameters.All(c.State, c.Account+"/"+c.Region+"/") {
		if (p.Newest.Tier == advanced) == (tier == advanced) {
			n++
		}
	}
	if n < most {
		return nil
	}
	return api.ParameterLimitExceeded("You have exceeded the number of parameters for this Amazon Web Services account. Delete one or more parameters and try again.")
}

// find is the parameter and the version that a caller names. The error is what AWS says
// when either is not there.
func find(r store.Reader, at place) (*Parameter, *Revision, error) {
	if err := at.named(); err != nil {
		return nil, nil, err
	}
	p := parameters.Get(r, at.key())
	if p == nil {
		return nil, nil, notFound()
	}
	if at.selector == "" {
		return p, &p.Newest, nil
	}
	version, err := strconv.ParseInt(at.selector, 10, 64)
	if err != nil {
		var ok bool
		if version, ok = p.Labels[at.selector]; !ok {
			return nil, nil, noVersion(at.selector, at.name)
		}
	}
	v := p.revision(r, at.key(), version)
	if v == nil {
		return nil, nil, noVersion(at.selector, at.name)
	}
	return p, v, nil
}

// view is a version as callers see it, by the name under which they asked for it.
func (s *Service) view(at place, r *Revision, decrypt bool) (*api.Parameter, error) {
	value, err := s.value(at, r, decrypt)
	if err != nil {
		return nil, err
	}
	v := &api.Parameter{Name: at.name, Type: r.Type, Value: value, Version: r.Version, LastModifiedDate: r.Modified, ARN: string(at.arn()), DataType: r.DataType}
	if at.selector != "" {
		v.Selector = ":" + at.selector
	}
	return v, nil
}

func (s *Service) value(at place, r *Revision, decrypt bool) (string, error) {
	if r.Type != secure || !decrypt {
		return r.Value, nil
	}
	secret, err := s.Keyring.Kept(sealedAs(at.key(), r.Version), r.Value)
	if err != nil {
		return "", err
	}
	return secret.Reveal(), nil
}

func (s *Service) getParameter(_ context.Context, c *service.Call, in *api.GetParameterInput) (*api.GetParameterOutput, error) {
	at := locate(c, in.Name)
	_, r, err := find(c.State, at)
	if err != nil {
		return nil, err
	}
	v, err := s.view(at, r, is(in.WithDecryption))
	if err != nil {
		return nil, err
	}
	return &api.GetParameterOutput{Parameter: v}, nil
}

// getParameters answers with those that are there; the others are named as invalid.
func (s *Service) getParameters(_ context.Context, c *service.Call, in *api.GetParametersInput) (*api.GetParametersOutput, error) {
	out := &api.GetParametersOutput{Parameters: []api.Parameter{}, InvalidParameters: []string{}}
	for i, name := range in.Names {
		if slices.Contains(in.Names[:i], name) {
			continue
		}
		at := locate(c, name)
		if err := at.named(); err != nil {
			return nil, err
		}
		_, r, err := find(c.State, at)
		if err != nil {
			out.InvalidParameters = append(out.InvalidParameters, name)
			continue
		}
		v, err := s.view(at, r, is(in.WithDecryption))
		if err != nil {
			return nil, err
		}
		out.Parameters = append(out.Parameters, *v)
	}
	return out, nil
}

// getParametersByPath reads below a path. Who may read a path reads all that is below
// it: AWS asks about the path alone.
func (s *Service) getParametersByPath(_ context.Context, c *service.Call, in *api.GetParametersByPathInput) (*api.GetParametersByPathOutput, error) {
	at := locate(c, in.Path)
	if err := checkPath(at.name); err != nil {
		return nil, err
	}
	filters, err := checkFilters(in.ParameterFilters, true)
	if err != nil {
		return nil, err
	}
	base := at.account + "/" + at.region + "/"
	path := strings.TrimSuffix(at.name, "/")
	prefix := base
	if path != "" {
		prefix += path + "/"
	}
	out := &api.GetParametersByPathOutput{Parameters: []api.Parameter{}}
	page, err := newPage(in.NextToken, in.MaxResults, 10)
	if err != nil {
		return nil, err
	}
	for key, p := range parameters.From(c.State, prefix, page.after) {
		rest := strings.TrimPrefix(key[len(prefix):], "/")
		if !is(in.Recursive) && strings.Contains(rest, "/") || !filters.match(p) {
			continue
		}
		if !page.take(key) {
			break
		}
		one, r := place{account: at.account, region: at.region, name: p.Name}, &p.Newest
		if label := filters.label(p); label != "" {
			if r = p.revision(c.State, key, p.Labels[label]); r == nil {
				continue
			}
			one.selector = label
		}
		v, err := s.view(one, r, is(in.WithDecryption))
		if err != nil {
			return nil, err
		}
		out.Parameters = append(out.Parameters, *v)
	}
	out.NextToken = page.next
	return out, nil
}

func (s *Service) describeParameters(_ context.Context, c *service.Call, in *api.DescribeParametersInput) (*api.DescribeParametersOutput, error) {
	if len(in.Filters) > 0 && len(in.ParameterFilters) > 0 {
		return nil, api.Validation("You can use either Filters or ParameterFilters in a single request.")
	}
	given := in.ParameterFilters
	for _, f := range in.Filters { // the older form, in which names are prefixes
		option := "Equals"
		if f.Key == "Name" {
			option = "BeginsWith"
		}
		given = append(given, api.ParameterStringFilter{Key: f.Key, Option: option, Values: f.Values})
	}
	filters, err := checkFilters(given, false)
	if err != nil {
		return nil, err
	}
	page, err := newPage(in.NextToken, in.MaxResults, 50)
	if err != nil {
		return nil, err
	}
	out := &api.DescribeParametersOutput{Parameters: []api.ParameterMetadata{}}
	if is(in.Shared) { // nobody shares: there is no Resource Access Manager
		return out, nil
	}
	for key, p := range parameters.From(c.State, c.Account+"/"+c.Region+"/", page.after) {
		if !filters.match(p) {
			continue
		}
		if !page.take(key) {
			break
		}
		r := &p.Newest
		at := place{account: c.Account, region: c.Region, name: p.Name}
		out.Parameters = append(out.Parameters, api.ParameterMetadata{
			Name: p.Name, ARN: string(at.arn()), Type: r.Type, KeyId: r.KeyID, LastModifiedDate: r.Modified, LastModifiedUser: r.By,
			Description: r.Description, AllowedPattern: r.AllowedPattern, Version: r.Version, Tier: r.Tier, DataType: r.DataType,
			Policies: []api.ParameterInlinePolicy{},
		})
	}
	out.NextToken = page.next
	return out, nil
}

func (s *Service) getParameterHistory(_ context.Context, c *service.Call, in *api.GetParameterHistoryInput) (*api.GetParameterHistoryOutput, error) {
	at := locate(c, in.Name)
	p, _, err := find(c.State, at)
	if err != nil {
		return nil, err
	}
	page, err := newPage(in.NextToken, in.MaxResults, 50)
	if err != nil {
		return nil, err
	}
	out := &api.GetParameterHistoryOutput{Parameters: []api.ParameterHistory{}}
	for version := p.Oldest; version <= p.Newest.Version; version++ {
		key := revisionKey(at.key(), version)
		if key <= page.after {
			continue
		}
		if !page.take(key) {
			break
		}
		r := p.revision(c.State, at.key(), version)
		if r == nil {
			return nil, fmt.Errorf("version %d of parameter %s is not there", version, at.key())
		}
		value, err := s.value(at, r, is(in.WithDecryption))
		if err != nil {
			return nil, err
		}
		out.Parameters = append(out.Parameters, api.ParameterHistory{
			Name: at.name, Type: r.Type, KeyId: r.KeyID, LastModifiedDate: r.Modified, LastModifiedUser: r.By, Description: r.Description, Value: value,
			AllowedPattern: r.AllowedPattern, Version: r.Version, Labels: append([]string{}, p.labelsOf(r.Version)...), Tier: r.Tier, DataType: r.DataType,
			Policies: []api.ParameterInlinePolicy{},
		})
	}
	out.NextToken = page.next
	return out, nil
}

// remove deletes a parameter and its versions; it reports whether there was one.
func remove(tx *store.Tx, key string) bool {
	p := parameters.Get(tx, key)
	if p == nil {
		return false
	}
	for version := p.Oldest; version < p.Newest.Version; version++ {
		revisions.Delete(tx, revisionKey(key, version))
	}
	parameters.Delete(tx, key)
	return true
}

func (s *Service) deleteParameter(ctx context.Context, c *service.Call, in *api.DeleteParameterInput) (*api.DeleteParameterOutput, error) {
	at := locate(c, in.Name)
	if err := at.named(); err != nil {
		return nil, err
	}
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		if at.selector != "" || !remove(tx, at.key()) {
			return notFound()
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &api.DeleteParameterOutput{}, nil
}

func (s *Service) deleteParameters(ctx context.Context, c *service.Call, in *api.DeleteParametersInput) (*api.DeleteParametersOutput, error) {
	var out *api.DeleteParametersOutput
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		out = &api.DeleteParametersOutput{DeletedParameters: []string{}, InvalidParameters: []string{}}
		for _, name := range in.Names {
			at := locate(c, name)
			if err := at.named(); err != nil {
				return err
			}
			if at.selector == "" && remove(tx, at.key()) {
				out.DeletedParameters = append(out.DeletedParameters, name)
			} else {
				out.InvalidParameters = append(out.InvalidParameters, name)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

var labelled = regexp.MustCompile(`^[A-Za-z_.-][A-Za-z0-9_.-]*$`)

func labelAllowed(label string) bool {
	lower := strings.ToLower(label)
	return labelled.MatchString(label) && !strings.HasPrefix(lower, "aws") && !strings.HasPrefix(lower, "ssm")
}

// labelParameterVersion gives a version labels, which it takes from the version that has them.
func (s *Service) labelParameterVersion(ctx context.Context, c *service.Call, in *api.LabelParameterVersionInput) (*api.LabelParameterVersionOutput, error) {
	at := locate(c, in.Name)
	var out *api.LabelParameterVersionOutput
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		p, _, err := find(tx, at)
		if err != nil {
			return err
		}
		version := p.Newest.Version
		if in.ParameterVersion != nil {
			version = *in.ParameterVersion
		}
		if p.revision(tx, at.key(), version) == nil {
			return noVersion(strconv.FormatInt(version, 10), at.name)
		}
		out = &api.LabelParameterVersionOutput{InvalidLabels: []string{}, ParameterVersion: version}
		for _, label := range in.Labels {
			if !labelAllowed(label) {
				out.InvalidLabels = append(out.InvalidLabels, label)
				continue
			}
			if p.Labels == nil {
				p.Labels = map[string]int64{}
			}
			p.Labels[label] = version
		}
		if len(p.labelsOf(version)) > mostLabels {
			return api.ParameterVersionLabelLimitExceeded("A parameter version can have maximum 10 labels.Move one or more labels to another version and try again.")
		}
		parameters.Put(tx, at.key(), p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (s *Service) unlabelParameterVersion(ctx context.Context, c *service.Call, in *api.UnlabelParameterVersionInput) (*api.UnlabelParameterVersionOutput, error) {
	at := locate(c, in.Name)
	var out *api.UnlabelParameterVersionOutput
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		p, _, err := find(tx, at)
		if err != nil {
			return err
		}
		if p.revision(tx, at.key(), in.ParameterVersion) == nil {
			return noVersion(strconv.FormatInt(in.ParameterVersion, 10), at.name)
		}
		out = &api.UnlabelParameterVersionOutput{RemovedLabels: []string{}, InvalidLabels: []string{}}
		for _, label := range in.Labels {
			if version, ok := p.Labels[label]; ok && version == in.ParameterVersion {
				delete(p.Labels, label)
				out.RemovedLabels = append(out.RemovedLabels, label)
			} else {
				out.InvalidLabels = append(out.InvalidLabels, label)
			}
		}
		parameters.Put(tx, at.key(), p)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
