package codepipeline

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	cloudformation "github.com/iamd-dev/iamd/internal/aws/cloudformation/api"
	"github.com/iamd-dev/iamd/internal/aws/codepipeline/api"
	s3 "github.com/iamd-dev/iamd/internal/aws/s3/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/wire"
)

// checkStack refuses a CloudFormation action whose configuration does not go together
// (User Guide, "AWS CloudFormation deploy action reference").
func checkStack(a *api.ActionDeclaration) error {
	c := a.Configuration
	needs := map[string][]string{
		"CREATE_UPDATE":      {"TemplatePath", "RoleArn"},
		"REPLACE_ON_FAILURE": {"TemplatePath", "RoleArn"},
		"DELETE_ONLY":        {"RoleArn"},
		"CHANGE_SET_REPLACE": {"TemplatePath", "RoleArn", "ChangeSetName"},
		"CHANGE_SET_EXECUTE": {"ChangeSetName"},
	}
	needed, ok := needs[c["ActionMode"]]
	if !ok {
		return fmt.Errorf("ActionMode '%s' is not one of CREATE_UPDATE, REPLACE_ON_FAILURE, DELETE_ONLY, CHANGE_SET_REPLACE and CHANGE_SET_EXECUTE", c["ActionMode"])
	}
	for _, name := range needed {
		if c[name] == "" {
			return fmt.Errorf("configuration is missing required key '%s'", name)
		}
	}
	for _, name := range []string{"TemplatePath", "TemplateConfiguration"} {
		artifact, file, ok := strings.Cut(c[name], "::")
		if c[name] != "" && (!ok || file == "" || !slices.ContainsFunc(a.InputArtifacts, func(in api.InputArtifact) bool { return in.Name == artifact })) {
			return fmt.Errorf("%s '%s' is not InputArtifact::File of an input artifact", name, c[name])
		}
	}
	if c["OutputFileName"] != "" && len(a.OutputArtifacts) == 0 {
		return errors.New("OutputFileName is given, and there is no output artifact")
	}
	return nil
}

const cloudFormation = "AmazonCloudFormation"

// stack makes, changes or deletes a stack and waits for the end of that. What CloudFormation
// is asked is asked as the action's role, which passes RoleArn on with it.
func (w *work) stack(ctx context.Context) error {
	mode := w.config["ActionMode"]
	if w.recorded().External == "" {
		var err error
		var id string
		switch mode {
		case "CHANGE_SET_REPLACE":
			return w.changeSet(ctx)
		case "CHANGE_SET_EXECUTE":
			id, err = w.executeChangeSet(ctx)
		case "DELETE_ONLY":
			id, err = w.deleteStack(ctx)
		default:
			id, err = w.createOrUpdate(ctx)
		}
		if err != nil {
			return err
		}
		if id == "" {
			w.summary = "There is nothing to do"
		} else if err := w.change(ctx, func(a *action) { a.External = id }); err != nil {
			return err
		}
	}
	if id := w.recorded().External; id != "" {
		if err := w.await(ctx, id); err != nil {
			return err
		}
	}
	if mode == "DELETE_ONLY" {
		return nil
	}
	return w.stackOutputs(ctx)
}

// ask makes a call to CloudFormation.
func ask[Out any](ctx context.Context, w *work, in any) (*Out, error) {
	c, err := w.call(ctx)
	if err != nil {
		return nil, err
	}
	return service.Invoke[Out](ctx, w.s.Roles.Invoker, c, "cloudformation", in)
}

// stackError is what is said of a call that CloudFormation has refused.
func stackError(err error) error {
	var f *failure
	switch {
	case errors.As(err, &f):
		return f
	case refused(err):
		return &failure{"PermissionError", asAWS(err, cloudFormation)}
	}
	return &failure{"JobFailed", asAWS(err, cloudFormation)}
}

// described is the stack of a name or id; nil: there is none.
func (w *work) described(ctx context.Context, name string) (*cloudformation.Stack, error) {
	out, err := ask[cloudformation.DescribeStacksOutput](ctx, w, &cloudformation.DescribeStacksInput{StackName: name})
	var e *wire.Error
	if errors.As(err, &e) && e.Code == "ValidationError" && strings.Contains(e.Message, "does not exist") {
		return nil, nil
	}
	if err != nil {
		return nil, stackError(err)
	}
	if len(out.Stacks) == 0 {
		return nil, nil
	}
	return &out.Stacks[0], nil
}

// await waits until a stack has come to rest.
func (w *work) await(ctx context.Context, id string) error {
	for {
		st, err := w.described(ctx, id)
		if err != nil {
			return err
		}
		if st == nil {
			return nil // deleted
		}
		if !strings.HasSuffix(st.StackStatus, "_IN_PROGRESS") {
			return w.outcome(ctx, st)
		}
		w.s.wait(ctx, nil, w.s.poll())
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// outcome says whether a stack that has come to rest is as it was to be.
func (w *work) outcome(ctx context.Context, st *cloudformation.Stack) error {
	verb := map[string]string{"CREATE": "create", "ROLLBACK": "create", "DELETE": "delete"}[st.StackStatus[:strings.IndexByte(st.StackStatus+"_", '_')]]
	if verb == "" {
		verb = "update"
	}
	switch st.StackStatus {
	case "CREATE_COMPLETE", "UPDATE_COMPLETE", "DELETE_COMPLETE":
		w.summary = "Stack " + st.StackName + " was " + strings.TrimSuffix(verb, "e") + "ed."
		return nil
	}
	message := fmt.Sprintf("Failed to %s stack. Current status: %s. ", verb, st.StackStatus)
	out, err := ask[cloudformation.DescribeStackEventsOutput](ctx, w, &cloudformation.DescribeStackEventsInput{StackName: st.StackId})
	if err != nil {
		message += "Status reason is not available because IAM role associated with the action does not have CloudFormation DescribeStackEvents permission"
	} else {
		// The newest events come first, and the first failure of the last change is the reason.
		reason := ""
		for _, e := range out.StackEvents {
			if strings.HasSuffix(e.ResourceStatus, "_FAILED") && e.LogicalResourceId != st.StackName && !strings.Contains(e.ResourceStatusReason, "cancelled") {
				reason = fmt.Sprintf("Resource %s: %s", e.LogicalResourceId, e.ResourceStatusReason)
			}
			if e.LogicalResourceId == st.StackName && (e.ResourceStatus == "CREATE_IN_PROGRESS" || e.ResourceStatus == "UPDATE_IN_PROGRESS" || e.ResourceStatus == "DELETE_IN_PROGRESS") {
				break
			}
		}
		message += "Reason: " + reason
	}
	return &failure{"JobFailed", message}
}

// failedStates are those of stacks that REPLACE_ON_FAILURE deletes first.
var failedStates = []string{"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED", "UPDATE_ROLLBACK_FAILED"}

// createOrUpdate asks for a stack as the template has it. "": it is so already.
func (w *work) createOrUpdate(ctx context.Context) (string, error) {
	name := w.config["StackName"]
	body, parameters, tags, err := w.template(ctx)
	if err != nil {
		return "", err
	}
	st, err := w.described(ctx, name)
	if err != nil {
		return "", err
	}
	if st != nil && w.config["ActionMode"] == "REPLACE_ON_FAILURE" && slices.Contains(failedStates, st.StackStatus) {
		if _, err := ask[cloudformation.DeleteStackOutput](ctx, w, &cloudformation.DeleteStackInput{StackName: name, RoleARN: w.config["RoleArn"]}); err != nil {
			return "", stackError(err)
		}
		if err := w.await(ctx, st.StackId); err != nil {
			return "", err
		}
		st = nil
	}
	if st == nil || st.StackStatus == "REVIEW_IN_PROGRESS" {
		out, err := ask[cloudformation.CreateStackOutput](ctx, w, &cloudformation.CreateStackInput{
			StackName: name, TemplateBody: body, Parameters: parameters, Tags: tags, Capabilities: w.capabilities(), RoleARN: w.config["RoleArn"]})
		if err != nil {
			return "", stackError(err)
		}
		return out.StackId, nil
	}
	out, err := ask[cloudformation.UpdateStackOutput](ctx, w, &cloudformation.UpdateStackInput{
		StackName: name, TemplateBody: body, Parameters: parameters, Tags: tags, Capabilities: w.capabilities(), RoleARN: w.config["RoleArn"]})
	var e *wire.Error
	if errors.As(err, &e) && e.Message == "No updates are to be performed." {
		return "", nil
	}
	if err != nil {
		return "", stackError(err)
	}
	return out.StackId, nil
}

func (w *work) deleteStack(ctx context.Context) (string, error) {
	st, err := w.described(ctx, w.config["StackName"])
	if st == nil || err != nil {
		return "", err
	}
	if _, err := ask[cloudformation.DeleteStackOutput](ctx, w, &cloudformation.DeleteStackInput{StackName: st.StackName, RoleARN: w.config["RoleArn"]}); err != nil {
		return "", stackError(err)
	}
	return st.StackId, nil
}

// changeSet makes a change set, in the place of one of the name.
func (w *work) changeSet(ctx context.Context) error {
	name, set := w.config["StackName"], w.config["ChangeSetName"]
	body, parameters, tags, err := w.template(ctx)
	if err != nil {
		return err
	}
	st, err := w.described(ctx, name)
	if err != nil {
		return err
	}
	kind := "CREATE"
	if st != nil {
		if st.StackStatus != "REVIEW_IN_PROGRESS" {
			kind = "UPDATE"
		}
		if _, err := ask[cloudformation.DeleteChangeSetOutput](ctx, w, &cloudformation.DeleteChangeSetInput{StackName: name, ChangeSetName: set}); err != nil && !missing(err) {
			return stackError(err)
		}
	}
	made, err := ask[cloudformation.CreateChangeSetOutput](ctx, w, &cloudformation.CreateChangeSetInput{StackName: name, ChangeSetName: set, ChangeSetType: kind,
		TemplateBody: body, Parameters: parameters, Tags: tags, Capabilities: w.capabilities(), RoleARN: w.config["RoleArn"]})
	if err != nil {
		return stackError(err)
	}
	for {
		out, err := ask[cloudformation.DescribeChangeSetOutput](ctx, w, &cloudformation.DescribeChangeSetInput{ChangeSetName: made.Id})
		switch {
		case err != nil:
			return stackError(err)
		case out.Status == "CREATE_COMPLETE":
			w.summary = "Change set " + set + " was created."
			return nil
		case unchanged(out):
			w.summary = "The change set has no changes."
			return nil
		case out.Status == "FAILED":
			return &failure{"JobFailed", "Failed to create change set. Reason: " + out.StatusReason}
		}
		w.s.wait(ctx, nil, w.s.poll())
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// executeChangeSet executes a change set. "": it changes nothing.
func (w *work) executeChangeSet(ctx context.Context) (string, error) {
	name, set := w.config["StackName"], w.config["ChangeSetName"]
	out, err := ask[cloudformation.DescribeChangeSetOutput](ctx, w, &cloudformation.DescribeChangeSetInput{StackName: name, ChangeSetName: set})
	if err != nil {
		return "", stackError(err)
	}
	if unchanged(out) {
		return "", nil
	}
	if _, err := ask[cloudformation.ExecuteChangeSetOutput](ctx, w, &cloudformation.ExecuteChangeSetInput{StackName: name, ChangeSetName: set}); err != nil {
		return "", stackError(err)
	}
	return out.StackId, nil
}

func unchanged(set *cloudformation.DescribeChangeSetOutput) bool {
	return set.Status == "FAILED" && (strings.Contains(set.StatusReason, "didn't contain changes") || strings.Contains(set.StatusReason, "No updates are to be performed"))
}

func missing(err error) bool {
	var e *wire.Error
	return errors.As(err, &e) && (e.Code == "ChangeSetNotFound" || e.Code == "ChangeSetNotFoundException")
}

func (w *work) capabilities() []string {
	var all []string
	for c := range strings.SplitSeq(w.config["Capabilities"], ",") {
		if c = strings.TrimSpace(c); c != "" {
			all = append(all, c)
		}
	}
	return all
}

// maxFile is the largest file that is read from an artifact.
const maxFile = 1 << 20

// file reads InputArtifact::File.
func (w *work) file(ctx context.Context, given string) ([]byte, error) {
	artifact, name, _ := strings.Cut(given, "::")
	c, err := w.call(ctx)
	if err != nil {
		return nil, err
	}
	archive, done, err := w.archive(ctx, c, artifact)
	if err != nil {
		return nil, err
	}
	defer done()
	for _, f := range archive.File {
		if path.Clean(f.Name) != path.Clean(name) {
			continue
		}
		in, err := f.Open()
		if err != nil {
			return nil, err
		}
		defer in.Close()
		return io.ReadAll(io.LimitReader(in, maxFile))
	}
	return nil, &failure{"JobFailed", fmt.Sprintf("File [%s] does not exist in artifact [%s]", name, artifact)}
}

// template reads the template, and what goes with it from the template configuration and
// the overrides.
func (w *work) template(ctx context.Context) (body string, parameters []cloudformation.Parameter, tags []cloudformation.Tag, err error) {
	text, err := w.file(ctx, w.config["TemplatePath"])
	if err != nil {
		return "", nil, nil, err
	}
	values := map[string]string{}
	if given := w.config["TemplateConfiguration"]; given != "" {
		file, err := w.file(ctx, given)
		if err != nil {
			return "", nil, nil, err
		}
		var configuration struct{ Parameters, Tags map[string]string }
		if err := json.Unmarshal(file, &configuration); err != nil {
			return "", nil, nil, &failure{"ConfigurationError", fmt.Sprintf("The template configuration %s is not JSON with Parameters and Tags, whose values are texts", given)}
		}
		values = configuration.Parameters
		for k, v := range configuration.Tags {
			tags = append(tags, cloudformation.Tag{Key: k, Value: v})
		}
	}
	if given := w.config["ParameterOverrides"]; given != "" {
		var overrides map[string]json.RawMessage
		if err := json.Unmarshal([]byte(given), &overrides); err != nil {
			return "", nil, nil, &failure{"ConfigurationError", "ParameterOverrides is not a JSON object"}
		}
		if values == nil {
			values = map[string]string{}
		}
		for name, v := range overrides {
			if values[name], err = w.parameter(ctx, v); err != nil {
				return "", nil, nil, err
			}
		}
	}
	for k, v := range values {
		parameters = append(parameters, cloudformation.Parameter{ParameterKey: k, ParameterValue: v})
	}
	slices.SortFunc(parameters, func(a, b cloudformation.Parameter) int { return strings.Compare(a.ParameterKey, b.ParameterKey) })
	return string(text), parameters, tags, nil
}

// parameter is the value of an override: a text, or what a function finds in an artifact.
func (w *work) parameter(ctx context.Context, v json.RawMessage) (string, error) {
	var text string
	if json.Unmarshal(v, &text) == nil {
		return text, nil
	}
	wrong := &failure{"ConfigurationError", fmt.Sprintf("The parameter override %s is neither a text nor Fn::GetArtifactAtt nor Fn::GetParam", v)}
	var functions map[string][]string
	if json.Unmarshal(v, &functions) != nil || len(functions) != 1 {
		return "", wrong
	}
	if of := functions["Fn::GetArtifactAtt"]; len(of) == 2 {
		at, ok := w.execution.Artifacts[of[0]]
		switch {
		case ok && of[1] == "BucketName":
			return at.Bucket, nil
		case ok && of[1] == "ObjectKey":
			return at.Key, nil
		case ok && of[1] == "URL":
			return "https://" + at.Bucket + ".s3.amazonaws.com/" + at.Key, nil
		}
		return "", wrong
	}
	if of := functions["Fn::GetParam"]; len(of) == 3 {
		file, err := w.file(ctx, of[0]+"::"+of[1])
		if err != nil {
			return "", err
		}
		var values map[string]any
		if err := json.Unmarshal(file, &values); err != nil || values[of[2]] == nil {
			return "", &failure{"ConfigurationError", fmt.Sprintf("There is no key %s in file %s of artifact %s", of[2], of[1], of[0])}
		}
		return fmt.Sprint(values[of[2]]), nil
	}
	return "", wrong
}

// stackOutputs are the action's variables, and a file in its output artifact if it has one.
func (w *work) stackOutputs(ctx context.Context) error {
	st, err := w.described(ctx, w.config["StackName"])
	if err != nil || st == nil {
		return err
	}
	w.variables = map[string]string{}
	for _, o := range st.Outputs {
		w.variables[o.OutputKey] = o.OutputValue
	}
	if w.config["OutputFileName"] == "" {
		return nil
	}
	text, err := json.Marshal(w.variables)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	archive := zip.NewWriter(&b)
	f, err := archive.Create(w.config["OutputFileName"])
	if err != nil {
		return err
	}
	if _, err := f.Write(text); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	c, err := w.call(ctx)
	if err != nil {
		return err
	}
	to, size := w.place(w.declared.OutputArtifacts[0].Name), int64(b.Len())
	if _, err := service.Invoke[s3.PutObjectOutput](ctx, w.s.Roles.Invoker, c, "s3", &s3.PutObjectInput{Bucket: to.Bucket, Key: to.Key, Body: io.NopCloser(&b), ContentLength: &size}); err != nil {
		return w.storeError(err, to)
	}
	w.outputs[w.declared.OutputArtifacts[0].Name] = to
	return nil
}
