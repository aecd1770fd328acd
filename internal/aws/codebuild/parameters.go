package codebuild

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/iamd-dev/iamd/internal/aws/ssm/api"
	"github.com/iamd-dev/iamd/internal/service"
)

// parameters finds the values of environment variables that are kept in Parameter Store,
// given which parameter each is. It asks as the role, which needs ssm:GetParameters.
func (s *Service) parameters(ctx context.Context, c *service.Call, parameters map[string]string) (map[string]string, error) {
	names := slices.Compact(slices.Sorted(maps.Values(parameters)))
	found := map[string]string{}
	decrypt := true
	for some := range slices.Chunk(names, 10) {
		out, err := service.Invoke[api.GetParametersOutput](ctx, s.Roles.Invoker, c, "ssm", &api.GetParametersInput{Names: some, WithDecryption: &decrypt})
		if err != nil {
			return nil, err
		}
		if len(out.InvalidParameters) > 0 {
			return nil, fmt.Errorf("parameter does not exist: %s", out.InvalidParameters[0])
		}
		for _, p := range out.Parameters {
			found[p.Name+p.Selector], found[p.ARN] = p.Value, p.Value
		}
	}
	values := map[string]string{}
	for variable, name := range parameters {
		value, ok := found[name]
		if !ok {
			return nil, fmt.Errorf("parameter does not exist: %s", name)
		}
		values[variable] = value
	}
	return values, nil
}
