package lambda

import (
	"context"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/iamd-dev/iamd/internal/aws/lambda/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
)

// An Alias is a name for a version, or for two.
type Alias struct {
	Version     string
	Weights     map[string]float64 `json:",omitempty"` // further versions, and their part of the invocations
	Description string             `json:",omitempty"`
	Revision    string
}

// publish makes a version of $LATEST, which is v. Where nothing has changed since the
// last one, it is that one.
func publish(tx *store.Tx, n name, f *Function, v *Version, description *string) *Version {
	if v.As != "" {
		if same := version(tx, n, v.As); same != nil {
			return same
		}
	}
	f.Published++
	made := *v
	made.Config.Version = strconv.FormatInt(f.Published, 10)
	made.Config.RevisionId = newRevision()
	if description != nil {
		made.Config.Description = *description
	}
	versions.Put(tx, versionKey(n, made.Config.Version), &made)
	v.As = made.Config.Version
	return &made
}

func (s *Service) publishVersion(ctx context.Context, c *service.Call, in *api.PublishVersionInput) (*api.PublishVersionOutput, error) {
	n, err := unqualified(c, in.FunctionName)
	if err != nil {
		return nil, err
	}
	if in.PublishTo != "" {
		return nil, notHere("PublishTo", "capacity providers")
	}
	var out api.FunctionConfiguration
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		f, v, err := find(tx, n)
		if err != nil {
			return err
		}
		if err := checkRevision(in.RevisionId, v.Config.RevisionId); err != nil {
			return err
		}
		if in.CodeSha256 != "" && in.CodeSha256 != v.Config.CodeSha256 {
			return api.InvalidParameterValue("CodeSHA256 (%s) is different from current CodeSHA256 in $LATEST (%s). Please try again with the CodeSHA256 in $LATEST.",
				in.CodeSha256, v.Config.CodeSha256)
		}
		if err := room(tx, n, v.Code.Size); err != nil {
			return err
		}
		var description *string
		if in.Description != "" {
			description = &in.Description
		}
		before := f.Published
		made := publish(tx, n, f, v, description)
		out = made.show(n.with(made.Config.Version))
		out.State = "Active"
		if f.Published != before {
			out.State, out.StateReasonCode, out.StateReason = pending()
			functions.Put(tx, n.key(), f)
			versions.Put(tx, versionKey(n, latest), v)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	made := api.PublishVersionOutput(out)
	return &made, nil
}

func (s *Service) listVersionsByFunction(_ context.Context, c *service.Call, in *api.ListVersionsByFunctionInput) (*api.ListVersionsByFunctionOutput, error) {
	n, err := unqualified(c, in.FunctionName)
	if err != nil {
		return nil, err
	}
	if _, err := n.lookup(c.State); err != nil {
		return nil, err
	}
	after, err := readMarker(in.Marker)
	if err != nil {
		return nil, err
	}
	out := &api.ListVersionsByFunctionOutput{Versions: []api.FunctionConfiguration{}}
	most := pageSize(in.MaxItems, defaultPage)
	last := ""
	for key, v := range versions.From(c.State, n.key()+"/", after) {
		if len(out.Versions) == most {
			out.NextMarker = marker(last)
			break
		}
		out.Versions = append(out.Versions, v.show(n.with(v.Config.Version)))
		last = key
	}
	return out, nil
}

// aliasesOf are the aliases that lead to a version, sorted.
func (f *Function) aliasesOf(version string) []string {
	var all []string
	for _, name := range sorted(f.Aliases) {
		a := f.Aliases[name]
		if _, weighted := a.Weights[version]; weighted || a.Version == version {
			all = append(all, name)
		}
	}
	return all
}

// pick is the version that an invocation of the alias runs.
func (a *Alias) pick() string {
	at := rand.Float64()
	for _, v := range sorted(a.Weights) {
		if at -= a.Weights[v]; at < 0 {
			return v
		}
	}
	return a.Version
}

// check refuses an alias that leads where there is nothing.
func (a *Alias) check(r store.Reader, n name) error {
	if version(r, n, a.Version) == nil {
		return n.with(a.Version).notFound()
	}
	if len(a.Weights) > 1 {
		return api.InvalidParameterValue("Number of items in AdditionalVersionWeights cannot be greater than 1")
	}
	for v, weight := range a.Weights {
		switch {
		case !(weight >= 0 && weight <= 1):
			return api.Validation("1 validation error detected: Value '{%s=%v}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: "+
				"Map value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]", v, weight)
		case !numbers.MatchString(v):
			return api.Validation("1 validation error detected: Value '{%s=%v}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: "+
				"Map keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, "+
				"Member must satisfy regular expression pattern: [0-9]+, Member must not be null]", v, weight)
		case v == a.Version:
			return api.InvalidParameterValue("Invalid function version %s. Function version %s is already included in routing configuration.", v, v)
		case a.Version == latest:
			return api.InvalidParameterValue("$LATEST is not supported for an alias pointing to more than 1 version")
		case version(r, n, v) == nil:
			return n.with(v).notFound()
		}
	}
	return nil
}

func (a *Alias) show(n name, alias string) *api.AliasConfiguration {
	out := &api.AliasConfiguration{AliasArn: string(n.with(alias).arn()), Name: alias, FunctionVersion: a.Version, Description: a.Description, RevisionId: a.Revision}
	if len(a.Weights) > 0 {
		out.RoutingConfig = &api.AliasRoutingConfiguration{AdditionalVersionWeights: a.Weights}
	}
	return out
}

// changeFunction changes what the versions of a function share.
func (s *Service) changeFunction(ctx context.Context, n name, change func(*store.Tx, *Function) error) error {
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		f, err := n.lookup(tx)
		if err != nil {
			return err
		}
		if err := change(tx, f); err != nil {
			return err
		}
		functions.Put(tx, n.key(), f)
		return nil
	})
}

func noAlias(n name, alias string) error {
	return api.ResourceNotFound("Cannot find alias arn: %s", n.with(alias).arn())
}

func weights(r *api.AliasRoutingConfiguration) map[string]float64 {
	if r == nil {
		return nil
	}
	return r.AdditionalVersionWeights
}

func (s *Service) createAlias(ctx context.Context, c *service.Call, in *api.CreateAliasInput) (*api.CreateAliasOutput, error) {
	n, err := unqualified(c, in.FunctionName)
	if err != nil {
		return nil, err
	}
	a := &Alias{Version: in.FunctionVersion, Weights: weights(in.RoutingConfig), Description: in.Description, Revision: newRevision()}
	err = s.changeFunction(ctx, n, func(tx *store.Tx, f *Function) error {
		if err := a.check(tx, n); err != nil {
			return err
		}
		if f.Aliases[in.Name] != nil {
			return api.ResourceConflict("Alias already exists: %s", n.with(in.Name).arn())
		}
		if f.Aliases == nil {
			f.Aliases = map[string]*Alias{}
		}
		f.Aliases[in.Name] = a
		return nil
	})
	out := api.CreateAliasOutput(*a.show(n, in.Name))
	return &out, err
}

func (s *Service) updateAlias(ctx context.Context, c *service.Call, in *api.UpdateAliasInput) (*api.UpdateAliasOutput, error) {
	n, err := unqualified(c, in.FunctionName)
	if err != nil {
		return nil, err
	}
	var out api.UpdateAliasOutput
	err = s.changeFunction(ctx, n, func(tx *store.Tx, f *Function) error {
		a := f.Aliases[in.Name]
		if a == nil {
			return noAlias(n, in.Name)
		}
		if err := checkRevision(in.RevisionId, a.Revision); err != nil {
			return err
		}
		set(&a.Version, in.FunctionVersion)
		if in.Description != nil {
			a.Description = *in.Description
		}
		if in.RoutingConfig != nil {
			a.Weights = in.RoutingConfig.AdditionalVersionWeights
		}
		a.Revision = newRevision()
		out = api.UpdateAliasOutput(*a.show(n, in.Name))
		return a.check(tx, n)
	})
	return &out, err
}

func (s *Service) getAlias(_ context.Context, c *service.Call, in *api.GetAliasInput) (*api.GetAliasOutput, error) {
	n, err := unqualified(c, in.FunctionName)
	if err != nil {
		return nil, err
	}
	f, err := n.lookup(c.State)
	if err != nil {
		return nil, err
	}
	a := f.Aliases[in.Name]
	if a == nil {
		return nil, noAlias(n, in.Name)
	}
	out := api.GetAliasOutput(*a.show(n, in.Name))
	return &out, nil
}

func (s *Service) listAliases(_ context.Context, c *service.Call, in *api.ListAliasesInput) (*api.ListAliasesOutput, error) {
	n, err := unqualified(c, in.FunctionName)
	if err != nil {
		return nil, err
	}
	f, err := n.lookup(c.State)
	if err != nil {
		return nil, err
	}
	all := sorted(f.Aliases)
	if in.FunctionVersion != "" {
		leading := f.aliasesOf(in.FunctionVersion)
		all = slices.DeleteFunc(all, func(a string) bool { return !slices.Contains(leading, a) })
	}
	out := &api.ListAliasesOutput{Aliases: []api.AliasConfiguration{}}
	some, next, err := page(all, in.Marker, pageSize(in.MaxItems, defaultPage))
	if err != nil {
		return nil, err
	}
	for _, alias := range some {
		out.Aliases = append(out.Aliases, *f.Aliases[alias].show(n, alias))
	}
	out.NextMarker = next
	return out, nil
}

func (s *Service) deleteAlias(ctx context.Context, c *service.Call, in *api.DeleteAliasInput) (*api.DeleteAliasOutput, error) {
	n, err := unqualified(c, in.FunctionName)
	if err != nil {
		return nil, err
	}
	return &api.DeleteAliasOutput{}, s.changeFunction(ctx, n, func(_ *store.Tx, f *Function) error {
		delete(f.Aliases, in.Name) // one that is not there is as good as deleted
		delete(f.Policies, in.Name)
		delete(f.Events, in.Name)
		return nil
	})
}
