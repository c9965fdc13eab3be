package resp

import "sync/atomic"

// Stats counts what a server has done since it was made, but for Open and
// BufferBytes, which are levels.
type Stats struct {
	Open           int64 // connections now
	BufferBytes    int64 // held by open connections for reading and writing
	Accepted       int64 // connections taken
	Refused        int64 // connections beyond MaxConns or MaxConnsPerAddr
	Commands       int64 // replies made
	Batches        int64 // calls of Handler.Serve
	BytesIn        int64
	BytesOut       int64
	ProtocolErrors int64 // connections cut for what they sent
	AuthTimeouts   int64 // connections cut for not authenticating in time
	StallTimeouts  int64 // connections cut within a command
	SlowReaders    int64 // connections cut for not reading their replies
	Panics         int64 // connections ended by a bug
	AcceptErrors   int64 // failed accepts that were tried again
}

type counters struct {
	bufferBytes, open, accepted, refused atomic.Int64
	commands, batches, bytesIn, bytesOut atomic.Int64
	protocolErrors, authTimeouts         atomic.Int64
	stallTimeouts, slowReaders, panics   atomic.Int64
	acceptErrors                         atomic.Int64
}

// Stats returns the counters. Each is exact, but they are not read at one moment.
func (s *Server) Stats() Stats {
	c := &s.stats
	return Stats{
		Open:           c.open.Load(),
		BufferBytes:    c.bufferBytes.Load(),
		Accepted:       c.accepted.Load(),
		Refused:        c.refused.Load(),
		Commands:       c.commands.Load(),
		Batches:        c.batches.Load(),
		BytesIn:        c.bytesIn.Load(),
		BytesOut:       c.bytesOut.Load(),
		ProtocolErrors: c.protocolErrors.Load(),
		AuthTimeouts:   c.authTimeouts.Load(),
		StallTimeouts:  c.stallTimeouts.Load(),
		SlowReaders:    c.slowReaders.Load(),
		Panics:         c.panics.Load(),
		AcceptErrors:   c.acceptErrors.Load(),
	}
}
