// Package pgtest runs a private PostgreSQL for tests, of this project and of its
// users: the real server, in a folder of its own, reachable through a Unix socket
// there and through a port of the loopback address, gone with the test.
//
// A reader meets three things: [Start] begins a server, [Server.NewDatabase] gives
// a test an empty database on it, and [Proxy] stands between a client and the
// server to cut their connection at a chosen moment.
//
// It needs PostgreSQL's server programs (on Debian the package postgresql), found
// through PATH, pg_config or /usr/lib/postgresql. Without them it fails and says
// so: a test that needs a database and has none has not passed. The server refuses
// to run as root; started by root it runs as the user postgres, or else as nobody.
package pgtest
