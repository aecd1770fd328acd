package ssm

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/internal/aws/ssm/api"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// A Command is what somebody sent to nodes.
type Command struct {
	ID             string
	Document       string
	Comment        string              `json:",omitempty"`
	Parameters     map[string][]string // as they were sent
	InstanceIDs    []string            `json:",omitempty"`
	Targets        []api.Target        `json:",omitempty"`
	MaxConcurrency string
	MaxErrors      string
	Timeout        int32         // seconds to deliver it in
	Execution      time.Duration // for how long it may run
	Requested      time.Time
	Nodes          []string `json:",omitempty"` // that it went to
}

// An Invocation is a command on one node.
type Invocation struct {
	Status, Details string
	Requested       time.Time
	Begun           time.Time // when the agent took it
	Ended           time.Time
	Ran             bool // the plugin answered
	Code            int32
	Output          string    `json:",omitempty"`
	Stdout          string    `json:",omitempty"`
	Stderr          string    `json:",omitempty"`
	Started         time.Time // of the plugin, as the agent says
	Finished        time.Time
}

var (
	commands    = store.NewTable[Command]("ssm-commands")       // by account/region/id
	invocations = store.NewTable[Invocation]("ssm-invocations") // by account/region/command/instance
)

const (
	pending, inProgress, success, failed, timedOut, cancelled, cancelling = "Pending", "InProgress", "Success", "Failed", "TimedOut", "Cancelled", "Cancelling"

	shellPlugin = "aws:runShellScript"

	defaultTimeout = 3600                // seconds
	kept           = 30 * 24 * time.Hour // of commands: User Guide, "Understanding command statuses"
	grace          = time.Minute         // for the agent to say that a command has run too long
)

func commandKey(c *service.Call, id string) string { return c.Account + "/" + c.Region + "/" + id }

func (i *Invocation) over() bool {
	return i.Status != pending && i.Status != inProgress && i.Status != cancelling
}

// at is the invocation at a time: what nobody delivered or answered has timed out.
func (i Invocation) at(cmd *Command, now time.Time) Invocation {
	deliver := cmd.Requested.Add(time.Duration(cmd.Timeout) * time.Second)
	switch {
	case i.Status == pending && now.After(deliver):
		i.Status, i.Details, i.Ended = timedOut, "DeliveryTimedOut", deliver
	case !i.over() && i.Status != pending && now.After(i.Begun.Add(cmd.Execution+grace)):
		i.Status, i.Details, i.Ended = timedOut, "ExecutionTimedOut", i.Begun.Add(cmd.Execution)
	}
	return i
}

// change changes the invocation that a message is about.
func change(tx *store.Tx, c *service.Call, m *Message, f func(*Invocation)) error {
	key := commandKey(c, m.Command) + "/" + instanceOf(m.ID)
	i := invocations.Get(tx, key)
	if i == nil {
		return fmt.Errorf("the invocation %s of a message is not there", key)
	}
	f(i)
	invocations.Put(tx, key, i)
	return nil
}

// newUUID makes a random UUID, as command ids are.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// sent are the resources of SendCommand: the document, and each node that is named. Nodes
// that are found by their tags are asked about one by one when they are found.
func sent(c *service.Call, in *api.SendCommandInput) []service.Target {
	all := []service.Target{{ARN: documentARN(c, in.DocumentName), Home: true}}
	for _, id := range in.InstanceIds {
		all = append(all, service.Target{ARN: managedARN(c.Account, c.Region, id)})
	}
	return all
}

func (s *Service) sendCommand(ctx context.Context, c *service.Call, in *api.SendCommandInput) (*api.SendCommandOutput, error) {
	d, err := documentNamed(in.DocumentName)
	if err != nil {
		return nil, err
	}
	if d.kind != "Command" {
		return nil, api.InvalidDocument("Document %s is of type %s: it is not for commands.", d.name, d.kind)
	}
	if err := latest(in.DocumentVersion); err != nil {
		return nil, err
	}
	switch {
	case len(in.InstanceIds) > 0 && len(in.Targets) > 0:
		return nil, api.Validation("InstanceIds and Targets can't be used together.")
	case len(in.InstanceIds) == 0 && len(in.Targets) == 0:
		return nil, api.Validation("InstanceIds or Targets must be given.")
	case in.OutputS3BucketName != "":
		return nil, notYet("iamd does not write the output of commands to S3: GetCommandInvocation has it.")
	case in.NotificationConfig != nil && in.NotificationConfig.NotificationArn != "" || in.ServiceRoleArn != "":
		return nil, notYet("iamd does not notify about commands.")
	case in.CloudWatchOutputConfig != nil && in.CloudWatchOutputConfig.CloudWatchOutputEnabled:
		return nil, notYet("iamd does not write the output of commands to CloudWatch Logs.")
	case in.AlarmConfiguration != nil:
		return nil, notYet("iamd has no alarms.")
	}
	for i, id := range in.InstanceIds {
		if slices.Contains(in.InstanceIds[:i], id) {
			return nil, api.DuplicateInstanceId("You can't specify an instance ID in more than one association.")
		}
	}
	given, err := d.given(in.Parameters)
	if err != nil {
		return nil, err
	}
	seconds, _ := strconv.Atoi(given["executionTimeout"][0])
	cmd := &Command{ID: newUUID(), Document: d.name, Comment: in.Comment, Parameters: in.Parameters, InstanceIDs: in.InstanceIds, Targets: in.Targets,
		MaxConcurrency: cmp.Or(in.MaxConcurrency, "50"), MaxErrors: cmp.Or(in.MaxErrors, "0"), Timeout: defaultTimeout,
		Execution: time.Duration(seconds) * time.Second, Requested: c.Time.UTC().Truncate(time.Millisecond)}
	if in.TimeoutSeconds != nil {
		cmd.Timeout = *in.TimeoutSeconds
	}

	refused := map[string]bool{} // nodes that the caller may not send it to
	if len(in.Targets) > 0 {
		if cmd.Nodes, err = s.targeted(c, in.Targets); err != nil {
			return nil, err
		}
		for _, id := range cmd.Nodes {
			refused[id] = c.Authorize("ssm:SendCommand", managedARN(c.Account, c.Region, id)) != nil
		}
	} else {
		var bad []string
		for _, id := range in.InstanceIds {
			if n := s.node(c.State, c.Account, c.Region, id); n == nil || !n.online(c.Time) {
				bad = append(bad, id)
			}
		}
		if len(bad) > 0 {
			return nil, api.InvalidInstanceId("Instances [[%s]] not in a valid state for account %s", strings.Join(bad, ", "), c.Account)
		}
		cmd.Nodes = in.InstanceIds
	}

	payload, err := json.Marshal(map[string]any{
		"Parameters":      plain(d, given),
		"DocumentContent": json.RawMessage(d.content),
		"CommandId":       cmd.ID,
		"DocumentName":    d.name, "OutputS3KeyPrefix": "", "OutputS3BucketName": "",
	})
	if err != nil {
		return nil, err
	}
	old := s.outdated(c)
	err = s.DB.Update(ctx, func(tx *store.Tx) error {
		for key, past := range old {
			for _, id := range past.Nodes {
				invocations.Delete(tx, key+"/"+id)
				messages.Delete(tx, messageKey(c.Account, c.Region, messageID(past.ID, id)))
			}
			commands.Delete(tx, key)
		}
		key := commandKey(c, cmd.ID)
		commands.Put(tx, key, cmd)
		for _, id := range cmd.Nodes {
			i := &Invocation{Status: pending, Details: pending, Requested: cmd.Requested, Code: -1}
			if refused[id] {
				i.Status, i.Details, i.Ended = failed, "AccessDenied", cmd.Requested
			} else {
				m := &Message{ID: messageID(cmd.ID, id), Command: cmd.ID, Request: c.RequestID, Topic: sendTopic + c.Region, Payload: string(payload), Created: cmd.Requested,
					Expires: cmd.Requested.Add(time.Duration(cmd.Timeout) * time.Second)}
				messages.Put(tx, messageKey(c.Account, c.Region, m.ID), m)
			}
			invocations.Put(tx, key+"/"+id, i)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, id := range cmd.Nodes {
		s.bells.ring(nodeKey(c.Account, c.Region, id))
	}
	v := s.viewCommand(s.DB.View(), c, cmd)
	v.Status, v.StatusDetails = pending, pending
	return &api.SendCommandOutput{Command: v}, nil
}

func notYet(text string) error {
	return &wire.Error{Code: "NotImplemented", Status: 501, Message: text}
}

// plain are the parameters as agents read them: a text where the document says String.
func plain(d *document, given map[string][]string) map[string]any {
	out := map[string]any{}
	for _, p := range d.parameters() {
		if p.Type == "String" {
			out[p.Name] = given[p.Name][0]
		} else {
			out[p.Name] = given[p.Name]
		}
	}
	return out
}

// targeted finds the nodes of targets: those that match all.
func (s *Service) targeted(c *service.Call, targets []api.Target) ([]string, error) {
	for _, t := range targets {
		if t.Key != "InstanceIds" && t.Key != "tag-key" && !strings.HasPrefix(t.Key, "tag:") {
			return nil, api.Validation("The target key %s is not supported: InstanceIds, tag-key and tag:KEY are.", t.Key)
		}
	}
	var ids []string
	for _, n := range nodes.All(c.State, c.Account+"/"+c.Region+"/") {
		tags, there := s.instance(c.State, instanceARN(c.Account, c.Region, n.ID))
		if !there || !n.online(c.Time) {
			continue
		}
		all := true
		for _, t := range targets {
			name, isTag := strings.CutPrefix(t.Key, "tag:")
			all = all && slices.ContainsFunc(t.Values, func(v string) bool {
				if isTag {
					has, ok := tags[name]
					return ok && has == v
				}
				if t.Key == "tag-key" {
					_, ok := tags[v]
					return ok
				}
				return n.ID == v
			})
		}
		if all {
			ids = append(ids, n.ID)
		}
	}
	return ids, nil
}

// outdated are some of the commands that AWS would have forgotten.
func (s *Service) outdated(c *service.Call) map[string]*Command {
	old := map[string]*Command{}
	for key, cmd := range commands.All(c.State, c.Account+"/"+c.Region+"/") {
		if c.Time.Sub(cmd.Requested) > kept && len(old) < 10 {
			old[key] = cmd
		}
	}
	return old
}

// cancelCommand cancels what has not begun, and tells the agents of what has.
func (s *Service) cancelCommand(ctx context.Context, c *service.Call, in *api.CancelCommandInput) (*api.CancelCommandOutput, error) {
	var told []string
	err := s.DB.Update(ctx, func(tx *store.Tx) error {
		told = nil
		cmd := commands.Get(tx, commandKey(c, in.CommandId))
		if cmd == nil {
			return api.InvalidCommandId("")
		}
		for _, id := range in.InstanceIds {
			if !slices.Contains(cmd.Nodes, id) {
				return api.InvalidInstanceId("")
			}
		}
		for _, id := range cmd.Nodes {
			if len(in.InstanceIds) > 0 && !slices.Contains(in.InstanceIds, id) {
				continue
			}
			key := commandKey(c, cmd.ID) + "/" + id
			i := invocations.Get(tx, key)
			if i == nil || i.over() || i.Status == cancelling {
				continue
			}
			sent := messageID(cmd.ID, id)
			if i.Status == pending {
				messages.Delete(tx, messageKey(c.Account, c.Region, sent))
				i.Status, i.Details, i.Ended = cancelled, cancelled, c.Time.UTC()
			} else {
				payload, err := json.Marshal(map[string]string{"CancelMessageId": sent})
				if err != nil {
					return err
				}
				m := &Message{ID: messageID(newUUID(), id), Command: cmd.ID, Request: c.RequestID, Topic: cancelTopic + c.Region, Payload: string(payload), Created: c.Time.UTC(), Expires: c.Time.UTC().Add(time.Hour)}
				messages.Put(tx, messageKey(c.Account, c.Region, m.ID), m)
				i.Status, i.Details = cancelling, cancelling
				told = append(told, id)
			}
			invocations.Put(tx, key, i)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, id := range told {
		s.bells.ring(nodeKey(c.Account, c.Region, id))
	}
	return &api.CancelCommandOutput{}, nil
}

// viewCommand is a command as callers see it, with the status that its invocations make.
func (s *Service) viewCommand(r store.Reader, c *service.Call, cmd *Command) *api.Command {
	v := &api.Command{
		CommandId: cmd.ID, DocumentName: cmd.Document, DocumentVersion: "$DEFAULT", Comment: cmd.Comment, Parameters: cmd.Parameters,
		ExpiresAfter: cmd.Requested.Add(time.Duration(cmd.Timeout)*time.Second + cmd.Execution), RequestedDateTime: cmd.Requested,
		InstanceIds: append([]string{}, cmd.InstanceIDs...), Targets: append([]api.Target{}, cmd.Targets...), MaxConcurrency: cmd.MaxConcurrency, MaxErrors: cmd.MaxErrors,
		TimeoutSeconds: cmd.Timeout, TargetCount: int32(len(cmd.Nodes)),
		NotificationConfig: &api.NotificationConfig{}, CloudWatchOutputConfig: &api.CloudWatchOutputConfig{},
	}
	n := map[string]int{}
	for _, id := range cmd.Nodes {
		kept := invocations.Get(r, commandKey(c, cmd.ID)+"/"+id)
		if kept == nil {
			continue
		}
		i := kept.at(cmd, c.Time)
		n[i.Status]++
		if i.over() {
			v.CompletedCount++
		}
		switch i.Details {
		case "DeliveryTimedOut":
			v.DeliveryTimedOutCount++
		case failed, "ExecutionTimedOut", "Undeliverable":
			v.ErrorCount++
		}
	}
	switch all := len(cmd.Nodes); {
	case all == 0:
		v.Status, v.StatusDetails = success, "NoInstancesInTag"
		return v
	case n[cancelling] > 0:
		v.Status = cancelling
	case n[pending] == all:
		v.Status = pending
	case n[pending]+n[inProgress] > 0:
		v.Status = inProgress
	case n[failed] > 0:
		v.Status = failed
	case n[timedOut] > 0:
		v.Status = timedOut
	case n[cancelled] > 0:
		v.Status = cancelled
	default:
		v.Status = success
	}
	v.StatusDetails = v.Status
	if v.Status == timedOut {
		v.StatusDetails = "ExecutionTimedOut"
		if int(v.DeliveryTimedOutCount) == n[timedOut] {
			v.StatusDetails = "DeliveryTimedOut"
		}
	}
	return v
}

// A sending is a command in a list.
type sending struct {
	key string // in the order of the list: the newest first
	cmd *Command
}

// listed are the commands that a list is about.
func (s *Service) listed(c *service.Call, id, instance string) ([]sending, error) {
	var all []sending
	if id != "" && commands.Get(c.State, commandKey(c, id)) == nil {
		return nil, api.InvalidCommandId("")
	}
	for _, cmd := range commands.All(c.State, c.Account+"/"+c.Region+"/"+id) {
		if instance == "" || slices.Contains(cmd.Nodes, instance) {
			all = append(all, sending{fmt.Sprintf("%020d/%s", uint64(1)<<62-uint64(cmd.Requested.UnixMilli()), cmd.ID), cmd})
		}
	}
	slices.SortFunc(all, func(a, b sending) int { return strings.Compare(a.key, b.key) })
	return all, nil
}

// selected tells whether filters let a command, or an invocation of it, through.
func selected(filters []api.CommandFilter, requested time.Time, status, document string) (bool, error) {
	for _, f := range filters {
		ok := true
		switch f.Key {
		case "InvokedAfter", "InvokedBefore":
			t, err := time.Parse(time.RFC3339, f.Value)
			if err != nil {
				return false, api.InvalidFilterKey("The value of %s is no time: %s", f.Key, f.Value)
			}
			ok = requested.After(t) == (f.Key == "InvokedAfter")
		case "Status":
			ok = status == f.Value
		case "DocumentName":
			ok = document == f.Value
		case "ExecutionStage":
			over := status != pending && status != inProgress && status != cancelling
			ok = over == (f.Value == "Complete")
		}
		if !ok {
			return false, nil
		}
	}
	return true, nil
}

func (s *Service) listCommands(_ context.Context, c *service.Call, in *api.ListCommandsInput) (*api.ListCommandsOutput, error) {
	all, err := s.listed(c, in.CommandId, in.InstanceId)
	if err != nil {
		return nil, err
	}
	page, err := newPage(in.NextToken, in.MaxResults, 50)
	if err != nil {
		return nil, err
	}
	out := &api.ListCommandsOutput{Commands: []api.Command{}}
	for _, one := range all {
		if one.key <= page.after {
			continue
		}
		v := s.viewCommand(c.State, c, one.cmd)
		if ok, err := selected(in.Filters, one.cmd.Requested, v.Status, one.cmd.Document); err != nil {
			return nil, err
		} else if !ok {
			continue
		}
		if !page.take(one.key) {
			break
		}
		out.Commands = append(out.Commands, *v)
	}
	out.NextToken = page.next
	return out, nil
}

func (s *Service) listCommandInvocations(_ context.Context, c *service.Call, in *api.ListCommandInvocationsInput) (*api.ListCommandInvocationsOutput, error) {
	all, err := s.listed(c, in.CommandId, in.InstanceId)
	if err != nil {
		return nil, err
	}
	page, err := newPage(in.NextToken, in.MaxResults, 50)
	if err != nil {
		return nil, err
	}
	out := &api.ListCommandInvocationsOutput{CommandInvocations: []api.CommandInvocation{}}
list:
	for _, one := range all {
		for _, id := range slices.Sorted(slices.Values(one.cmd.Nodes)) {
			key := one.key + "/" + id
			kept := invocations.Get(c.State, commandKey(c, one.cmd.ID)+"/"+id)
			if kept == nil || key <= page.after || in.InstanceId != "" && id != in.InstanceId {
				continue
			}
			i := kept.at(one.cmd, c.Time)
			if ok, err := selected(in.Filters, i.Requested, i.Status, one.cmd.Document); err != nil {
				return nil, err
			} else if !ok {
				continue
			}
			if !page.take(key) {
				break list
			}
			tags, _ := s.instance(c.State, instanceARN(c.Account, c.Region, id))
			v := api.CommandInvocation{CommandId: one.cmd.ID, InstanceId: id, InstanceName: tags["Name"], Comment: one.cmd.Comment, DocumentName: one.cmd.Document, DocumentVersion: "$DEFAULT",
				RequestedDateTime: i.Requested, Status: i.Status, StatusDetails: i.Details, CommandPlugins: []api.CommandPlugin{},
				NotificationConfig: &api.NotificationConfig{}, CloudWatchOutputConfig: &api.CloudWatchOutputConfig{}}
			if is(in.Details) && i.Ran {
				v.CommandPlugins = append(v.CommandPlugins, api.CommandPlugin{Name: shellPlugin, Status: i.Status, StatusDetails: i.Details, ResponseCode: i.Code,
					ResponseStartDateTime: i.Started, ResponseFinishDateTime: i.Finished, Output: i.Output})
			}
			out.CommandInvocations = append(out.CommandInvocations, v)
		}
	}
	out.NextToken = page.next
	return out, nil
}

func (s *Service) getCommandInvocation(_ context.Context, c *service.Call, in *api.GetCommandInvocationInput) (*api.GetCommandInvocationOutput, error) {
	cmd := commands.Get(c.State, commandKey(c, in.CommandId))
	kept := invocations.Get(c.State, commandKey(c, in.CommandId)+"/"+in.InstanceId)
	if cmd == nil || kept == nil {
		return nil, api.InvocationDoesNotExist("")
	}
	if in.PluginName != "" && in.PluginName != shellPlugin {
		return nil, api.InvalidPluginName("")
	}
	i := kept.at(cmd, c.Time)
	v := &api.GetCommandInvocationOutput{CommandId: cmd.ID, InstanceId: in.InstanceId, Comment: cmd.Comment, DocumentName: cmd.Document, DocumentVersion: "$DEFAULT",
		PluginName: shellPlugin, ResponseCode: i.Code, Status: i.Status, StatusDetails: i.Details,
		StandardOutputContent: i.Stdout, StandardErrorContent: i.Stderr, CloudWatchOutputConfig: &api.CloudWatchOutputConfig{}}
	if !i.Started.IsZero() {
		v.ExecutionStartDateTime = stamp(i.Started)
	}
	if !i.Finished.IsZero() {
		v.ExecutionEndDateTime = stamp(i.Finished)
		v.ExecutionElapsedTime = "PT" + strconv.FormatFloat(i.Finished.Sub(i.Started).Seconds(), 'f', -1, 64) + "S"
	}
	return v, nil
}
