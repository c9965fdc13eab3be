package replica

import (
	"context"
	"io"
	"log/slog"

	"github.com/hashicorp/go-hclog"
)

// raftSink hands raft's lines on to slog. Raft calls much of what it does normal
// a warning, so every level is one lower here.
type raftSink struct{ log *slog.Logger }

func newRaftLogger(log *slog.Logger) hclog.Logger {
	l := hclog.NewInterceptLogger(&hclog.LoggerOptions{Name: "raft", Level: hclog.Off, Output: io.Discard})
	l.RegisterSink(raftSink{log})
	return l
}

// Accept takes one line from raft.
func (r raftSink) Accept(_ string, level hclog.Level, msg string, args ...any) {
	var to slog.Level
	switch level {
	case hclog.Error:
		to = slog.LevelWarn
	case hclog.Warn:
		to = slog.LevelInfo
	default:
		to = slog.LevelDebug
	}
	r.log.Log(context.Background(), to, "raft: "+msg, args...)
}
