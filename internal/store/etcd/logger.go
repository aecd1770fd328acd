package etcd

import (
	"context"
	"log/slog"
	"os"
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
