package chaos

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spacegrid/spacegrid/internal/chaos/lab"
	"github.com/spacegrid/spacegrid/internal/chaos/workload"
)

// SoakConfig describes a long run in peace.
type SoakConfig struct {
	// Run is the model: Folder, Binary, Members, Clients, Rate, Seed and Logger
	// count; Rate is shared by the workloads.
	Run       Config
	Workloads []workload.Workload
	// Time is how long it lasts, and Every how often members are looked at.
	Time, Every time.Duration
	// Told gets each look as it is made.
	Told func(Look)
}

// Look is what a member uses at one moment. Its names in JSON are part of the
// interface.
type Look struct {
	Member     string        `json:"member"`
	At         time.Duration `json:"at_ns"`
	Goroutines int           `json:"goroutines"`
	Files      int           `json:"file_descriptors"`
	Resident   int64         `json:"resident_bytes"`
	Disk       int64         `json:"disk_bytes"`
}

// SoakResult says whether anything grew. Its names in JSON are part of the
// interface.
type SoakResult struct {
	Seconds  float64          `json:"seconds"`
	Verdict  workload.Verdict `json:"verdict"` // of all workloads
	Growth   []Growth         `json:"growth"`
	Flat     bool             `json:"flat"`
	Passed   bool             `json:"ok"`
	Failures []string         `json:"failures,omitempty"`
}

// Growth compares what a member used in the second and in the last quarter of the
// time, as medians. In the first one caches, logs and the kept changes fill up.
type Growth struct {
	Member string  `json:"member"`
	What   string  `json:"what"`
	Before int64   `json:"before"`
	After  int64   `json:"after"`
	Ratio  float64 `json:"ratio"`
	Flat   bool    `json:"flat"`
}

// flatRatio is how much more of something may be used at the end for it to count
// as not growing: the medians of a quarter of the samples differ by less for what
// goes up and down around a level.
const flatRatio = 1.15

// looksNeeded is how many samples of a member a comparison needs.
const looksNeeded = 12

// Soak runs all workloads side by side for long and looks at the members.
func Soak(ctx context.Context, cfg SoakConfig) (*SoakResult, error) {
	run := cfg.Run.withDefaults()
	// The disks have to hold what an hour leaves behind.
	l, err := openLab(ctx, &run)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.End() }() // what its processes kept is not needed any more
	s := &soak{cfg: cfg, run: run, lab: l, began: time.Now()}
	for _, w := range cfg.Workloads {
		if err := s.prepare(ctx, w); err != nil {
			return nil, err
		}
	}
	err = s.load(ctx)
	return s.judge(), err
}

type soak struct {
	cfg     SoakConfig
	run     Config
	lab     *lab.Lab
	began   time.Time
	history []*workload.History
	files   []io.Closer // of the histories
	looks   []Look
	failed  []string
}

func (s *soak) path(w workload.Workload) string {
	return filepath.Join(s.run.Folder, w.Name()+".jsonl")
}

func (s *soak) prepare(ctx context.Context, w workload.Workload) error {
	h, file, err := workload.CreateHistory(s.path(w))
	if err != nil {
		return err
	}
	s.history, s.files = append(s.history, h), append(s.files, file)
	if err := w.Prepare(ctx, s.lab); err != nil {
		return fmt.Errorf("chaos: prepare %s: %w", w.Name(), err)
	}
	return nil
}

// load runs the workloads for the time, and looks at the members meanwhile.
func (s *soak) load(ctx context.Context) error {
	loading, stop := context.WithTimeout(ctx, s.cfg.Time)
	defer stop()
	share := float64(len(s.cfg.Workloads))
	var clients sync.WaitGroup
	errs := make(chan error, len(s.cfg.Workloads))
	for i, w := range s.cfg.Workloads {
		clients.Go(func() {
			errs <- w.Run(loading, s.lab, s.history[i], workload.Options{Seed: s.run.Seed, Clients: s.run.Clients, Rate: s.run.Rate / share})
		})
	}
	for rest(loading, s.cfg.Every) == nil {
		for i := range s.lab.Members() {
			look, err := lookAt(loading, s.lab.Member(i), s.lab.Door(workload.DoorHTTP, i))
			if err != nil {
				if loading.Err() == nil {
					s.failed = append(s.failed, err.Error())
				}
				continue
			}
			look.At = time.Since(s.began)
			s.looks = append(s.looks, look)
			if s.cfg.Told != nil {
				s.cfg.Told(look)
			}
		}
	}
	clients.Wait()
	for i, w := range s.cfg.Workloads {
		if err := <-errs; err != nil {
			s.failed = append(s.failed, err.Error())
		}
		finishing, cancel := context.WithTimeout(ctx, finishTime)
		if err := w.Finish(finishing, s.lab, s.history[i]); err != nil {
			s.failed = append(s.failed, fmt.Sprintf("%s: final reads: %v", w.Name(), err))
		}
		cancel()
		if err := s.files[i].Close(); err != nil {
			s.failed = append(s.failed, err.Error())
		}
	}
	return ctx.Err()
}

func (s *soak) judge() *SoakResult {
	r := &SoakResult{Seconds: time.Since(s.began).Seconds(), Flat: true, Failures: s.failed}
	for _, w := range s.cfg.Workloads {
		v, err := judgeFile(w, s.path(w))
		if err != nil {
			r.Failures = append(r.Failures, err.Error())
			continue
		}
		if word := broken(v); word != "" {
			r.Failures = append(r.Failures, fmt.Sprintf("%s: %s", w.Name(), word))
		}
		r.Verdict.Add(v)
	}
	r.Growth = growth(s.looks)
	for _, g := range r.Growth {
		r.Flat = r.Flat && g.Flat
	}
	r.Flat = r.Flat && len(r.Growth) > 0
	r.Passed = r.Flat && len(r.Failures) == 0 && r.Verdict.OK > 0 && r.Verdict.Unknown == 0
	return r
}

// growth compares the second quarter of each member's looks with the last.
func growth(looks []Look) []Growth {
	by := map[string][]Look{}
	var names []string
	for _, l := range looks {
		if by[l.Member] == nil {
			names = append(names, l.Member)
		}
		by[l.Member] = append(by[l.Member], l)
	}
	var all []Growth
	for _, name := range names {
		own := by[name]
		if len(own) < looksNeeded {
			continue
		}
		quarter := len(own) / 4
		for _, what := range []struct {
			name string
			of   func(*Look) int64
		}{
			{"goroutines", func(l *Look) int64 { return int64(l.Goroutines) }},
			{"file descriptors", func(l *Look) int64 { return int64(l.Files) }},
			{"resident bytes", func(l *Look) int64 { return l.Resident }},
			{"disk bytes", func(l *Look) int64 { return l.Disk }},
		} {
			g := Growth{Member: name, What: what.name}
			g.Before = median(own[quarter:2*quarter], what.of)
			g.After = median(own[len(own)-quarter:], what.of)
			g.Ratio = float64(g.After) / float64(max(g.Before, 1))
			g.Flat = g.Ratio <= flatRatio
			all = append(all, g)
		}
	}
	return all
}

func median(looks []Look, of func(*Look) int64) int64 {
	values := make([]int64, len(looks))
	for i := range looks {
		values[i] = of(&looks[i])
	}
	slices.Sort(values)
	return values[len(values)/2]
}
