package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// Probe runs a workload for a time against a cluster that somebody else injures,
// and judges it. The history stays at path.
func Probe(ctx context.Context, w workload.Workload, p workload.Place, path string, limit time.Duration, o workload.Options) (*workload.Verdict, error) {
	h, file, err := workload.CreateHistory(path)
	if err != nil {
		return nil, err
	}
	err = probe(ctx, w, p, h, limit, o)
	if err := errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return judgeFile(w, path)
}

func probe(ctx context.Context, w workload.Workload, p workload.Place, h *workload.History, limit time.Duration, o workload.Options) error {
	if err := w.Prepare(ctx, p); err != nil {
		return fmt.Errorf("chaos: prepare: %w", err)
	}
	loading, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := w.Run(loading, p, h, o); err != nil {
		return fmt.Errorf("chaos: the clients: %w", err)
	}
	finishing, cancel := context.WithTimeout(ctx, finishTime)
	defer cancel()
	if err := w.Finish(finishing, p, h); err != nil {
		return fmt.Errorf("chaos: final reads: %w", err)
	}
	return nil
}

// Replay judges the history in the folder of an earlier run again. name is the
// workload; if it is empty, it is the folder's name up to the first hyphen.
func Replay(folder, name string) (*workload.Verdict, error) {
	if name == "" {
		name, _, _ = strings.Cut(filepath.Base(folder), "-")
	}
	w, ok := workload.Named(name)
	if !ok {
		return nil, fmt.Errorf("chaos: there is no workload %q", name)
	}
	return judgeFile(w, filepath.Join(folder, historyName))
}

func judgeFile(w workload.Workload, path string) (*workload.Verdict, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("chaos: %w", err)
	}
	h, err := workload.ReadHistory(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("chaos: %s: %w", path, err)
	}
	return w.Judge(h), nil
}
