package ecs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/iamd-dev/iamd/arn"
	"github.com/iamd-dev/iamd/internal/aws/ecs/api"
	ssm "github.com/iamd-dev/iamd/internal/aws/ssm/api"
	"github.com/iamd-dev/iamd/internal/service"
)

// mostParameters is how many parameters one call reads.
const mostParameters = 10

// secrets are the variables of a container's environment that ECS fetches for it, with
// the execution role's permissions: parameters of Systems Manager.
func (r *run) secrets(ctx context.Context, d *api.ContainerDefinition) ([]string, error) {
	if len(d.Secrets) == 0 {
		return nil, nil
	}
	if r.execution == nil {
		return nil, errors.New("the task has no execution role")
	}
	regions := map[string][]string{} // what to read, by region
	for _, s := range d.Secrets {
		a := arn.ARN(s.ValueFrom)
		region := r.task.arn().Region()
		switch {
		case isARN(s.ValueFrom) && a.Service() == "secretsmanager":
			return nil, errors.New("unable to retrieve secret from asm: iamd does not serve Secrets Manager; parameters of Systems Manager can be secrets")
		case isARN(s.ValueFrom):
			region = a.Region()
		}
		if !slices.Contains(regions[region], s.ValueFrom) {
			regions[region] = append(regions[region], s.ValueFrom)
		}
	}
	values := map[string]string{}
	for region, names := range regions {
		session, err := r.execution.Session(ctx)
		if err != nil {
			return nil, err
		}
		decrypt := true
		for some := range slices.Chunk(names, mostParameters) {
			out, err := service.Invoke[ssm.GetParametersOutput](ctx, r.s.Inside, r.s.Roles.Call(session, region, r.parent), "ssm", &ssm.GetParametersInput{Names: some, WithDecryption: &decrypt})
			if err != nil {
				return nil, fmt.Errorf("unable to retrieve secrets from ssm: %w", err)
			}
			if len(out.InvalidParameters) > 0 {
				return nil, fmt.Errorf("unable to retrieve secrets from ssm: invalid ssm parameters: %s", strings.Join(out.InvalidParameters, ", "))
			}
			for _, p := range out.Parameters {
				values[p.Name], values[p.ARN] = p.Value, p.Value
			}
		}
	}
	var env []string
	for _, s := range d.Secrets {
		value, ok := values[s.ValueFrom]
		if !ok {
			return nil, fmt.Errorf("unable to retrieve secrets from ssm: %s was not answered", s.ValueFrom)
		}
		env = append(env, s.Name+"="+value)
	}
	return env, nil
}
