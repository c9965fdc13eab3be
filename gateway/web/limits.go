package web

import "time"

// Limits bounds what clients can make the door hold or wait for. A zero field
// means its default.
type Limits struct {
	// HeaderBytes bounds the headers of a request. Default 16 KiB.
	HeaderBytes int
	// HeaderTimeout is how long the headers of a request may take to arrive.
	// Default 5 s, so that slow senders do not hold connections.
	HeaderTimeout time.Duration
	// BodyBytes bounds the body of a request. Default 16 MiB: sixteen entries
	// of the largest size.
	BodyBytes int64
	// BodyTimeout is how long a request may take to arrive, and the time a
	// response has for each part that is written. Default 30 s.
	BodyTimeout time.Duration
	// IdleTimeout is how long a connection may rest between requests. Default
	// 2 min.
	IdleTimeout time.Duration
	// RequestTimeout bounds what one request waits for the grid, streams
	// aside. Default 10 s.
	RequestTimeout time.Duration
	// Wait bounds how long a request may ask to wait for an entry. Default 1 min:
	// below what proxies in between allow.
	Wait time.Duration
	// Connections bounds the open connections of listeners that Serve was
	// given. Default 10,000.
	Connections int
	// BatchEntries bounds the entries of one batch write. Default 10,000.
	BatchEntries int
	// QueryEntries and QueryBytes bound a query that is answered by one object.
	// A streamed one has no bound. Defaults 10,000 and 16 MiB.
	QueryEntries int
	QueryBytes   int
	// DrainTimeout is how long Close lets requests finish. Default 5 s.
	DrainTimeout time.Duration

	Sockets SocketLimits
}

// SocketLimits bounds WebSocket connections. A zero field means its default.
type SocketLimits struct {
	// Connections bounds the open WebSocket connections. Default 10,000.
	Connections int
	// Hello is how long a client may take to say hello. Default 5 s.
	Hello time.Duration
	// FrameBytes bounds a message of a client. Default 64 KiB.
	FrameBytes int
	// FramesPerSecond is the rate of a client's messages, with a burst of one
	// second's worth. Default 2,000.
	FramesPerSecond int
	// Ping is the time between pings, give or take a tenth. A client that has
	// sent nothing for two and a half of it is gone. Default 20 s.
	Ping time.Duration
	// Write is how long a client may take to accept one write. Default 10 s.
	Write time.Duration
	// Subscriptions of one connection. Default 64.
	Subscriptions int
	// QueueEvents and QueueBytes bound what waits for one subscription, one
	// command aside: a command is never split. Defaults 4,096 and 1 MiB.
	QueueEvents int
	QueueBytes  int
	// Slow is how long a full queue may rest before its subscription is reset.
	// Default 5 s: long enough for a collector pause at the client, far below
	// what the changelog retains.
	Slow time.Duration
	// Credit is the most that a client can be granted ahead. Default 100,000.
	Credit int
	// Batch is how long an event waits for company when the client does not
	// say. Default 10 ms.
	Batch time.Duration
	// CursorEvery is the shortest time between two cursors of a busy
	// subscription. A cursor names every partition, so it is not put into every
	// frame. Default 250 ms.
	CursorEvery time.Duration
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.HeaderBytes, 16<<10)
	orDefault(&l.HeaderTimeout, 5*time.Second)
	orDefault(&l.BodyBytes, 16<<20)
	orDefault(&l.BodyTimeout, 30*time.Second)
	orDefault(&l.IdleTimeout, 2*time.Minute)
	orDefault(&l.RequestTimeout, 10*time.Second)
	orDefault(&l.Wait, time.Minute)
	orDefault(&l.Connections, 10_000)
	orDefault(&l.BatchEntries, 10_000)
	orDefault(&l.QueryEntries, 10_000)
	orDefault(&l.QueryBytes, 16<<20)
	orDefault(&l.DrainTimeout, 5*time.Second)
	l.Sockets = l.Sockets.withDefaults()
	return l
}

func (l SocketLimits) withDefaults() SocketLimits {
	orDefault(&l.Connections, 10_000)
	orDefault(&l.Hello, 5*time.Second)
	orDefault(&l.FrameBytes, 64<<10)
	orDefault(&l.FramesPerSecond, 2_000)
	orDefault(&l.Ping, 20*time.Second)
	orDefault(&l.Write, 10*time.Second)
	orDefault(&l.Subscriptions, 64)
	orDefault(&l.QueueEvents, 4_096)
	orDefault(&l.QueueBytes, 1<<20)
	orDefault(&l.Slow, 5*time.Second)
	orDefault(&l.Credit, 100_000)
	orDefault(&l.Batch, 10*time.Millisecond)
	orDefault(&l.CursorEvery, 250*time.Millisecond)
	return l
}

func orDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}
