package chaos

import (
	"sync/atomic"
	"time"
)

// stallLook is how often the harness looks whether it is held up itself.
const stallLook = 10 * time.Millisecond

// stallWatch measures for how long, at worst, this process did not get to run: a
// client that was not scheduled looks like a grid that did not answer.
type stallWatch struct {
	worst atomic.Int64
	stop  chan struct{}
	done  chan struct{}
}

func watchStalls() *stallWatch {
	w := &stallWatch{stop: make(chan struct{}), done: make(chan struct{})}
	go w.run()
	return w
}

func (w *stallWatch) run() {
	defer close(w.done)
	timer := time.NewTimer(stallLook)
	defer timer.Stop()
	for {
		began := time.Now()
		select {
		case <-w.stop:
			return
		case <-timer.C:
		}
		if late := int64(time.Since(began) - stallLook); late > w.worst.Load() {
			w.worst.Store(late)
		}
		timer.Reset(stallLook)
	}
}

// end stops the watch and returns the longest stall.
func (w *stallWatch) end() time.Duration {
	close(w.stop)
	<-w.done
	return time.Duration(w.worst.Load())
}
