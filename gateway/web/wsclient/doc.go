// Package wsclient follows a space over the WebSocket protocol grid.v1.
//
// A [Watch] connects to one of several members and goes on with another when
// the connection is lost, from the cursor that it had reached. What it yields is
// the content of the space and then every change of it, in the order of each
// partition, exactly once as long as one Watch lives: changes that a member
// repeats after a reconnection are recognised by their number and passed over. A
// caller that stores [Event.Cursor] together with what it made of the events
// continues there after a restart of its own; events between the stored cursor
// and the end are then yielded again.
//
// Where the stream cannot be continued, a Reset says which content is void, and
// a snapshot follows. The package does not decode values: they are JSON.
package wsclient
