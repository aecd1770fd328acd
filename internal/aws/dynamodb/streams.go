package dynamodb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/iamd-dev/iamd/arn"
	streams "github.com/iamd-dev/iamd/internal/aws/dynamodb/streams/api"
	"github.com/iamd-dev/iamd/internal/identity"
	"github.com/iamd-dev/iamd/internal/service"
	"github.com/iamd-dev/iamd/internal/store"
	"github.com/iamd-dev/iamd/internal/wire"
)

// DynamoDB Streams is an API of its own beside DynamoDB's, with the same signing name and
// the same actions' prefix. Its records are the engine's.
//
// An engine's reading may be loose here, too: dynoxide describes whatever stream of a table
// it is asked for, reads with iterators that anyone can write down, and gives in a new
// stream the records of those before it, even of a table that was deleted. So iamd asks it
// for streams that exist and nothing else, gives out iterators that nobody else can make, and
// leaves out the records from before the stream's beginning.

// Streams returns the operations of DynamoDB Streams.
func (s *Service) Streams() *service.Service {
	t := service.New(streams.Model, "",
		service.Handle(s.listStreams, service.Any),
		service.Handle(s.describeStream, service.On(func(_ *service.Call, in *streams.DescribeStreamInput) []service.Target {
			return []service.Target{{ARN: arn.ARN(in.StreamArn)}}
		}), service.Before(func(c *service.Call, in *streams.DescribeStreamInput) error { return isStream(c, in.StreamArn) })),
		service.Handle(s.getShardIterator, service.On(func(_ *service.Call, in *streams.GetShardIteratorInput) []service.Target {
			return []service.Target{{ARN: arn.ARN(in.StreamArn)}}
		}), service.Before(func(c *service.Call, in *streams.GetShardIteratorInput) error { return isStream(c, in.StreamArn) }), service.Data),
		service.Handle(s.getRecords, service.On(func(_ *service.Call, in *streams.GetRecordsInput) []service.Target {
			of, _, _ := strings.Cut(in.ShardIterator, "|")
			return []service.Target{{ARN: arn.ARN(of)}}
		}), service.Before(mayGetRecords), service.Data),
	)
	t.Object = objectOf
	return t
}

// streamForm is the ARN of a stream.
var streamForm = regexp.MustCompile(`^arn:aws:dynamodb:[a-z0-9-]+:[0-9]{12}:table/[a-zA-Z0-9_.-]+/stream/[a-zA-Z0-9:.-]+$`)

// isStream refuses what is no ARN of a stream, or one of another region.
func isStream(c *service.Call, text string) error {
	if !streamForm.MatchString(text) {
		return streams.Validation("Invalid StreamArn: %s", text)
	}
	if arn.ARN(text).Region() != c.Region {
		return noStream(arn.ARN(text))
	}
	return nil
}

func noStream(a arn.ARN) error {
	return streams.ResourceNotFound("Requested resource not found: Stream: %s not found", a)
}

// streamARN is the ARN of a stream that an engine knows by its table and label.
func streamARN(account, region, table, label string) string {
	return string(arn.New("aws", "dynamodb", region, account, "table/"+table+"/stream/"+label))
}

// askStreams has the engine of an account and region answer a call of DynamoDB Streams.
func (s *Service) askStreams(ctx context.Context, account, region, op string, in, out any) error {
	answer, err := s.send(ctx, account, region, streams.Model, op, wire.AppendJSON(nil, in, wire.JSONOptions{Wire: true}))
	if err != nil {
		return err
	}
	if err := wire.ReadAnswer(streams.Model, answer.Body, out); err != nil {
		return fmt.Errorf("reading the engine's answer to %s: %w", op, err)
	}
	return nil
}

// engineStream is the stream that an ARN names as the engine knows it. A table has one at a time.
func (s *Service) engineStream(ctx context.Context, a arn.ARN) (*streams.Stream, error) {
	out := &streams.ListStreamsOutput{}
	if err := s.askStreams(ctx, a.Account(), a.Region(), "ListStreams", &streams.ListStreamsInput{TableName: nameOf(string(a))}, out); err != nil {
		return nil, err
	}
	for i := range out.Streams {
		if x := &out.Streams[i]; x.TableName == nameOf(string(a)) && "stream/"+x.StreamLabel == stream(a) {
			return x, nil
		}
	}
	return nil, noStream(a)
}

func (s *Service) listStreams(ctx context.Context, c *service.Call, in *streams.ListStreamsInput) (*streams.ListStreamsOutput, error) {
	ask := *in
	if start := arn.ARN(in.ExclusiveStartStreamArn); start != "" {
		if err := isStream(c, string(start)); err != nil {
			return nil, err
		}
		if start.Account() != c.Account {
			return nil, noStream(start)
		}
		x, err := s.engineStream(ctx, start)
		if err != nil {
			return nil, err
		}
		ask.ExclusiveStartStreamArn = x.StreamArn
	}
	out := &streams.ListStreamsOutput{}
	if err := s.askStreams(ctx, c.Account, c.Region, "ListStreams", &ask, out); err != nil {
		return nil, err
	}
	for i := range out.Streams {
		x := &out.Streams[i]
		named := streamARN(c.Account, c.Region, x.TableName, x.StreamLabel)
		if out.LastEvaluatedStreamArn == x.StreamArn {
			out.LastEvaluatedStreamArn = named
		}
		x.StreamArn = named
	}
	return out, nil
}

func (s *Service) describeStream(ctx context.Context, c *service.Call, in *streams.DescribeStreamInput) (*streams.DescribeStreamOutput, error) {
	a := arn.ARN(in.StreamArn)
	x, err := s.engineStream(ctx, a)
	if err != nil {
		return nil, err
	}
	ask := *in
	ask.StreamArn = x.StreamArn
	out := &streams.DescribeStreamOutput{}
	if err := s.askStreams(ctx, a.Account(), a.Region(), "DescribeStream", &ask, out); err != nil {
		return nil, err
	}
	d := out.StreamDescription
	if d == nil {
		return nil, errors.New("the engine describes a stream with nothing")
	}
	d.StreamArn = in.StreamArn
	from := s.beginning(c.State, a)
	if len(d.KeySchema) == 0 { // which AWS gives
		table, err := s.describe(ctx, a)
		if err != nil {
			return nil, err
		}
		for _, k := range table.Table.KeySchema {
			d.KeySchema = append(d.KeySchema, streams.KeySchemaElement{AttributeName: k.AttributeName, KeyType: k.KeyType})
		}
	}
	// The only shard of a stream that goes on is open, and an open shard has no end.
	if len(d.Shards) == 1 && d.StreamStatus == "ENABLED" && in.ExclusiveStartShardId == "" && d.LastEvaluatedShardId == "" && d.Shards[0].SequenceNumberRange != nil {
		d.Shards[0].SequenceNumberRange.EndingSequenceNumber = ""
	}
	for i := range d.Shards {
		x := &d.Shards[i]
		x.ShardId, x.ParentShardId = shardID(x.ShardId), shardID(x.ParentShardId)
		if r := x.SequenceNumberRange; r != nil {
			if from.after != nil && (r.StartingSequenceNumber == "" || !from.has(r.StartingSequenceNumber, time.Time{})) {
				r.StartingSequenceNumber = new(big.Int).Add(from.after, big.NewInt(1)).String()
			}
			r.StartingSequenceNumber, r.EndingSequenceNumber = sequenceNumber(r.StartingSequenceNumber), sequenceNumber(r.EndingSequenceNumber)
		}
	}
	d.LastEvaluatedShardId = shardID(d.LastEvaluatedShardId)
	return out, nil
}

// The texts of shards' ids and of sequence numbers have lengths within which clients stay:
// an engine's that are not so are written otherwise.
const (
	shortestShardID        = 28
	longestShardID         = 65
	shortestSequenceNumber = 21
)

func shardID(engines string) string {
	if engines == "" || len(engines) >= shortestShardID && len(engines) <= longestShardID {
		return engines
	}
	return fmt.Sprintf("shardId-%020d-%08x", 0, crc32.ChecksumIEEE([]byte(engines)))
}

func sequenceNumber(engines string) string {
	if engines == "" || len(engines) >= shortestSequenceNumber {
		return engines
	}
	return strings.Repeat("0", shortestSequenceNumber-len(engines)) + engines
}

// engineNumber is a sequence number as the engine has it.
func engineNumber(text string) string {
	if short := strings.TrimLeft(text, "0"); short != "" {
		return short
	}
	return text
}

func (s *Service) getShardIterator(ctx context.Context, c *service.Call, in *streams.GetShardIteratorInput) (*streams.GetShardIteratorOutput, error) {
	a := arn.ARN(in.StreamArn)
	x, err := s.engineStream(ctx, a)
	if err != nil {
		return nil, err
	}
	ask := *in
	ask.StreamArn, ask.SequenceNumber = x.StreamArn, engineNumber(in.SequenceNumber)
	if strings.HasSuffix(in.ShardIteratorType, "_SEQUENCE_NUMBER") == (in.SequenceNumber == "") {
		return nil, streams.Validation("SequenceNumber is required with ShardIteratorType AT_SEQUENCE_NUMBER and AFTER_SEQUENCE_NUMBER, and with no other")
	}
	if ask.ShardId, err = s.engineShard(ctx, a, x.StreamArn, in.ShardId); err != nil {
		return nil, err
	}
	out := &streams.GetShardIteratorOutput{}
	if err := s.askStreams(ctx, a.Account(), a.Region(), "GetShardIterator", &ask, out); err != nil {
		return nil, err
	}
	out.ShardIterator, err = s.sealIterator(c, a, out.ShardIterator)
	return out, err
}

// engineShard is the engine's id of a shard.
func (s *Service) engineShard(ctx context.Context, a arn.ARN, engines, id string) (string, error) {
	ask := &streams.DescribeStreamInput{StreamArn: engines}
	for {
		out := &streams.DescribeStreamOutput{}
		if err := s.askStreams(ctx, a.Account(), a.Region(), "DescribeStream", ask, out); err != nil {
			return "", err
		}
		if out.StreamDescription == nil {
			return "", errors.New("the engine describes a stream with nothing")
		}
		for _, x := range out.StreamDescription.Shards {
			if shardID(x.ShardId) == id {
				return x.ShardId, nil
			}
		}
		last := out.StreamDescription.LastEvaluatedShardId
		if last == "" || last == ask.ExclusiveStartShardId {
			return "", streams.ResourceNotFound("Requested resource not found: Shard: %s in stream: %s not found", id, a)
		}
		ask.ExclusiveStartShardId = last
	}
}

// An iterator is what GetRecords reads on with: the engine's, sealed, behind the stream's
// ARN, as in AWS's iterators. Whoever changes the ARN has one that does not open.
//
//	arn:aws:dynamodb:us-east-1:111122223333:table/music/stream/LABEL|1|SEALED
type iterator struct {
	Engine string
	Issued int64
}

const (
	iteratorLife = 15 * time.Minute // API Reference, GetShardIterator
	mostRecords  = 1000             // API Reference, GetRecords
)

func iteratorOf(a arn.ARN) string { return "shard iterator of " + string(a) }

func (s *Service) sealIterator(c *service.Call, a arn.ARN, engines string) (string, error) {
	if engines == "" { // the shard is closed and read to its end
		return "", nil
	}
	text, err := json.Marshal(iterator{engines, c.Time.Unix()})
	if err != nil {
		return "", err
	}
	sealed, err := s.Keyring.SealMessage(c.State, iteratorOf(a), string(text))
	return string(a) + "|1|" + sealed, err
}

func badIterator() error { return streams.Validation("Invalid ShardIterator") }

func (s *Service) openIterator(c *service.Call, text string) (arn.ARN, string, error) {
	of, sealed, ok := strings.Cut(text, "|1|")
	a := arn.ARN(of)
	if !ok {
		return "", "", badIterator()
	}
	opened, err := s.Keyring.OpenMessage(c.State, iteratorOf(a), sealed)
	if errors.Is(err, identity.ErrInvalidToken) {
		return "", "", badIterator()
	}
	if err != nil {
		return "", "", err
	}
	var i iterator
	if err := json.Unmarshal([]byte(opened), &i); err != nil {
		return "", "", err
	}
	if issued := time.Unix(i.Issued, 0).UTC(); c.Time.Sub(issued) > iteratorLife {
		const form = "Mon Jan 02 15:04:05 UTC 2006"
		return "", "", streams.ExpiredIterator("Iterator expired.  The iterator was created at time %s while right now it is %s which is further in the future than the tolerated delay of %d milliseconds.",
			issued.Format(form), c.Time.UTC().Format(form), iteratorLife.Milliseconds())
	}
	return a, i.Engine, nil
}

// mayGetRecords checks of the input what can be checked without knowing who asks.
func mayGetRecords(c *service.Call, in *streams.GetRecordsInput) error {
	const wrong = "1 validation error detected: Value %s at '%s' failed to satisfy constraint: Member must %s"
	if in.ShardIterator == "" {
		return streams.Validation(wrong, "null", "shardIterator", "not be null")
	}
	if n := in.Limit; n != nil && *n < 1 {
		return streams.Validation(wrong, fmt.Sprintf("'%d'", *n), "limit", "have value greater than or equal to 1")
	}
	if n := in.Limit; n != nil && *n > mostRecords {
		return streams.Validation(wrong, fmt.Sprintf("'%d'", *n), "limit", fmt.Sprintf("have value less than or equal to %d", mostRecords))
	}
	of, _, ok := strings.Cut(in.ShardIterator, "|1|")
	if !ok || !streamForm.MatchString(of) || arn.ARN(of).Region() != c.Region {
		return badIterator()
	}
	return nil
}

// getRecords passes the engine's records on as they are, but for what names the engine and
// for those that are not of this stream.
func (s *Service) getRecords(ctx context.Context, c *service.Call, in *streams.GetRecordsInput) (*service.Answer, error) {
	a, engines, err := s.openIterator(c, in.ShardIterator)
	if err != nil {
		return nil, err
	}
	if _, err := s.engineStream(ctx, a); err != nil { // switched off meanwhile, or made anew
		return nil, err
	}
	ask := *in
	ask.ShardIterator = engines
	answer, err := s.send(ctx, a.Account(), a.Region(), streams.Model, "GetRecords", wire.AppendJSON(nil, &ask, wire.JSONOptions{Wire: true}))
	if err != nil {
		return nil, err
	}
	var out struct {
		Records           []map[string]json.RawMessage
		NextShardIterator string `json:",omitempty"`
	}
	if err := json.Unmarshal(answer.Body, &out); err != nil {
		return nil, fmt.Errorf("reading the engine's records: %w", err)
	}
	from := s.beginning(c.State, a)
	records := make([]map[string]json.RawMessage, 0, len(out.Records))
	for _, r := range out.Records {
		var of struct {
			SequenceNumber              string
			ApproximateCreationDateTime float64
		}
		var members map[string]json.RawMessage
		if err := errors.Join(json.Unmarshal(r["dynamodb"], &of), json.Unmarshal(r["dynamodb"], &members)); err != nil {
			return nil, fmt.Errorf("reading an engine's record: %w", err)
		}
		if !from.has(of.SequenceNumber, time.Unix(int64(of.ApproximateCreationDateTime), 0)) {
			continue
		}
		r["awsRegion"], _ = json.Marshal(a.Region())
		members["SequenceNumber"], _ = json.Marshal(sequenceNumber(of.SequenceNumber))
		if r["dynamodb"], err = json.Marshal(members); err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	out.Records = records
	if out.NextShardIterator, err = s.sealIterator(c, a, out.NextShardIterator); err != nil {
		return nil, err
	}
	if answer.Body, err = json.Marshal(&out); err != nil {
		return nil, err
	}
	return checked(answer), nil
}

// A beginning is where the records of a stream begin: after a sequence number, or, where
// that is not known, after a second.
type beginning struct {
	after  *big.Int
	second time.Time
}

// has reports whether a record is of the stream.
func (b *beginning) has(sequence string, at time.Time) bool {
	if b.after == nil {
		return at.After(b.second)
	}
	n, ok := new(big.Int).SetString(sequence, 10)
	return ok && n.Cmp(b.after) > 0
}

// beginning is where a stream begins. An engine whose labels are no seconds keeps the
// records of its streams apart itself.
func (s *Service) beginning(r store.Reader, a arn.ARN) *beginning {
	if t := tables.Get(r, tableKey(a)); t != nil {
		if n, ok := new(big.Int).SetString(t.Streams[stream(a)].After, 10); ok {
			return &beginning{after: n}
		}
	}
	seconds, _, _ := strings.Cut(strings.TrimPrefix(stream(a), "stream/"), ".")
	if n, err := strconv.ParseInt(seconds, 10, 64); err == nil {
		return &beginning{second: time.Unix(n, 0)}
	}
	return &beginning{}
}

// began notes where the stream of a table begins that a call, whose answer describes the
// table, has switched on. Until that is noted, what was written in the second of its
// beginning is not taken to be of the stream.
func (s *Service) began(ctx context.Context, table arn.ARN, answer *service.Answer) error {
	var d struct {
		TableDescription struct{ LatestStreamLabel string }
	}
	if err := json.Unmarshal(answer.Body, &d); err != nil {
		return fmt.Errorf("reading the engine's description of %s: %w", table, err)
	}
	label := d.TableDescription.LatestStreamLabel
	if seconds, _, _ := strings.Cut(label, "."); label == "" || strings.Trim(seconds, "0123456789") != "" {
		return nil // no stream, or one of an engine that keeps them apart
	}
	a := arn.ARN(string(table) + "/stream/" + label)
	x, err := s.engineStream(ctx, a)
	if err != nil {
		return err
	}
	out := &streams.DescribeStreamOutput{}
	if err := s.askStreams(ctx, a.Account(), a.Region(), "DescribeStream", &streams.DescribeStreamInput{StreamArn: x.StreamArn}, out); err != nil {
		return err
	}
	after := "0"
	if out.StreamDescription != nil {
		for _, x := range out.StreamDescription.Shards {
			if r := x.SequenceNumberRange; r != nil && r.EndingSequenceNumber != "" {
				after = r.EndingSequenceNumber
			}
		}
	}
	return s.DB.Update(ctx, func(tx *store.Tx) error {
		t := tables.Get(tx, tableKey(a))
		if t == nil {
			t = &Table{}
		}
		t.setStream(stream(a), func(x *Stream) { x.After = after })
		tables.Put(tx, tableKey(a), t)
		return nil
	})
}
