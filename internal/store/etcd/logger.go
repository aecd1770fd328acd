package etcd

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// logger returns a zap logger that passes warnings and worse on to slog. What
// is fatal to etcd ends the process, except while it is being opened: then it
// is a panic with the message, for the one who opens it to recover.
func logger(to *slog.Logger, opening *atomic.Bool) *zap.Logger {
	return zap.New(core{to.With("from", "etcd").Handler()}, zap.WithFatalHook(fatal{opening}))
}

type fatal struct{ opening *atomic.Bool }

func (f fatal) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	if f.opening.Load() {
		text := e.Message
		enc := zapcore.NewMapObjectEncoder()
		for _, field := range fields {
			if field.AddTo(enc); field.Key == "error" {
				if s, ok := enc.Fields["error"].(string); ok {
					text += ": " + s
				}
			}
		}
		panic(text)
	}
	os.Exit(1)
}

// harmless tells the messages that an etcd without ports and without a network
// has at every start, and that ask nothing of an operator.
func harmless(message string) bool {
	switch message {
	case "Running http and grpc server on single port. This is not recommended for production.", // there is no port
		"simple token is not cryptographically signed", // nor are there tokens
		// While a start applies what came after the last snapshot, etcd tries
		// in a loop to tell other members, of which there are none, its name.
		"failed to publish local member to cluster through raft",
		// A stop right after a start.
		"failed to update cluster version", "server has stopped; skipping GoAttach",
		// A new database has no storage version until its first snapshot.
		"Failed to detect schema version",
		"failed to update storage version":
		return true
	}
	// The first election waits until the member has read its own membership.
	return strings.Contains(message, "there are still pending configuration changes to apply")
}

type core struct{ to slog.Handler }

func (c core) Enabled(l zapcore.Level) bool { return l >= zapcore.WarnLevel }

func (c core) With(fields []zapcore.Field) zapcore.Core { return core{c.to.WithAttrs(attrs(fields))} }

func (c core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if harmless(e.Message) {
		return nil
	}
	level := slog.LevelWarn
	if e.Level >= zapcore.ErrorLevel {
		level = slog.LevelError
	}
	if !c.to.Enabled(context.Background(), level) {
		return nil
	}
	r := slog.NewRecord(e.Time, level, e.Message, 0)
	r.AddAttrs(attrs(fields)...)
	return c.to.Handle(context.Background(), r)
}

func (c core) Sync() error { return nil }

func attrs(fields []zapcore.Field) []slog.Attr {
	out := make([]slog.Attr, 0, len(fields))
	for _, f := range fields {
		enc := zapcore.NewMapObjectEncoder()
		f.AddTo(enc)
		out = append(out, slog.Any(f.Key, enc.Fields[f.Key]))
	}
	return out
}
