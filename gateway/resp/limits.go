package resp

// shortestLine is the least that Limits.Inline and Limits.PreAuthBulk may be, in
// bytes: the reader takes header lines up to this length without measuring them.
const shortestLine = 10

// Limits bounds what one connection may make the gateway hold. A zero field
// means its default. Every limit is judged by the position of a byte in its
// command, never by how the bytes were cut into packets, so a client meets the
// same limit whatever the network did.
type Limits struct {
	// Args is the largest number of arguments of one command, its name
	// included. Default 1 Mi, as Redis.
	Args int
	// Bulk is the largest argument, in bytes. Default 8 MiB: far above the
	// 1 MiB an entry may have, so that an oversized value meets the grid's
	// own error, which names the space and the limit, before this one, which
	// costs the client its connection.
	Bulk int
	// Inline is the longest inline command, and the longest header line, in
	// bytes. Default 64 KiB, as Redis.
	Inline int
	// Request is the largest command, framing included, in bytes: what the
	// query buffer may grow to. Default 16 MiB.
	Request int
	// PreAuthArgs and PreAuthBulk take the place of Args, and of Bulk, Inline
	// and Request, until the session is authenticated. Defaults 10 and 16 KiB,
	// as Redis.
	PreAuthArgs int
	PreAuthBulk int
	// Queue is the most commands between MULTI and EXEC, and QueueBytes the
	// most bytes they may hold. Defaults 16 Ki and 16 MiB.
	Queue      int
	QueueBytes int
}

func (l Limits) withDefaults() Limits {
	set := func(field *int, value int) {
		if *field <= 0 {
			*field = value
		}
	}
	set(&l.Args, 1<<20)
	set(&l.Bulk, 8<<20)
	set(&l.Inline, 64<<10)
	set(&l.Request, 16<<20)
	set(&l.PreAuthArgs, 10)
	set(&l.PreAuthBulk, 16<<10)
	l.Inline, l.PreAuthBulk = max(l.Inline, shortestLine), max(l.PreAuthBulk, shortestLine)
	set(&l.Queue, 16<<10)
	set(&l.QueueBytes, 16<<20)
	return l
}
