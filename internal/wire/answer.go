package wire

import "fmt"

// This file is for server loops of one's own, which answer requests of a Conn
// without a Server.

// Reply answers request id without waiting: a server loop of one's own must
// not be held up by a peer that does not read. The error means that the
// connection should be given up.
func (w *Writer) Reply(id uint64, body Body) error { return w.TrySend(kindReply, id, body) }

// Fail answers request id with err, without waiting, as Reply does.
func (w *Writer) Fail(id uint64, err error) error {
	return w.TrySend(kindError, id, func(dst []byte) []byte { return appendError(dst, err) })
}

// ReplyFrame is the frame that answers request id, for a loop that writes to
// its connection by itself.
func ReplyFrame(id uint64, body []byte) []byte { return AppendFrame(nil, kindReply, id, Bytes(body)) }

// ErrorFrame is the frame that fails request id, as ReplyFrame.
func ErrorFrame(id uint64, err error) []byte {
	return AppendFrame(nil, kindError, id, func(dst []byte) []byte { return appendError(dst, err) })
}

// Answer interprets a frame that answers a request: the body of a reply, or the
// *Error or ErrBusy it carries.
func (f Frame) Answer() ([]byte, error) {
	switch f.Kind {
	case kindReply:
		return f.Body, nil
	case kindError:
		return nil, parseError(f.Body)
	case kindBusy:
		return nil, ErrBusy
	}
	return nil, fmt.Errorf("%w: answer of kind %#x", ErrProtocol, f.Kind)
}
