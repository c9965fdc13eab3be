package resp

// The commands, as data. Arity, flags and key positions are those of Redis 7.0
// wherever it has the command, as clients route and split pipelines by them.

// Where keys are.
var (
	noKeys   = KeyRange{}
	firstKey = KeyRange{First: 1, Last: 1, Step: 1}
	twoKeys  = KeyRange{First: 1, Last: 2, Step: 1}
	allKeys  = KeyRange{First: 1, Last: -1, Step: 1}
	pairKeys = KeyRange{First: 1, Last: -1, Step: 2}
	subKey   = KeyRange{First: 2, Last: 2, Step: 1} // of a subcommand
	heldKey  = KeyRange{First: 2, Last: 2, Step: 1} // of a claim
	spaceKey = KeyRange{First: 3, Last: 3, Step: 1, Behind: "KEY"}
)

// Flags that often come together.
const (
	anytime      = Loading | Stale
	anytimePlain = NoScript | Loading | Stale
	adminPlain   = Admin | NoScript | Loading | Stale
	door         = NoScript | Loading | Stale | Fast | NoAuth | AllowBusy
	writeFast    = Write | Fast
	addFast      = Write | DenyOOM | Fast
	readFast     = ReadOnly | Fast
)

func connectionCommands() []Spec {
	return []Spec{
		{"auth", -2, door, noKeys, Connection, "1.0.0", "Authenticates the connection.", nil},
		{"client", -2, 0, noKeys, Connection, "2.4.0", "Commands about client connections.", []Spec{
			{"client|caching", 3, anytimePlain, noKeys, Connection, "6.0.0", "Says whether the keys of the next command are tracked.", nil},
			{"client|getname", 2, anytimePlain, noKeys, Connection, "2.6.9", "Returns the name of the connection.", nil},
			{"client|help", 2, anytime, noKeys, Connection, "5.0.0", "Lists the subcommands.", nil},
			{"client|id", 2, anytimePlain, noKeys, Connection, "5.0.0", "Returns the number of the connection.", nil},
			{"client|info", 2, anytimePlain, noKeys, Connection, "6.2.0", "Describes the connection.", nil},
			{"client|kill", -3, adminPlain, noKeys, Connection, "2.4.0", "Ends connections.", nil},
			{"client|list", -2, adminPlain, noKeys, Connection, "2.4.0", "Describes the open connections.", nil},
			{"client|no-evict", 3, adminPlain, noKeys, Connection, "7.0.0", "Accepted for compatibility: connections are not evicted.", nil},
			{"client|no-touch", 3, anytimePlain, noKeys, Connection, "7.2.0", "Accepted for compatibility: reads do not touch entries.", nil},
			{"client|pause", -3, adminPlain, noKeys, Connection, "3.0.0", "Holds commands back for a while.", nil},
			{"client|reply", 3, anytimePlain, noKeys, Connection, "3.2.0", "Turns replies on or off.", nil},
			{"client|setinfo", 4, anytimePlain, noKeys, Connection, "7.2.0", "Says which library the client uses.", nil},
			{"client|setname", 3, anytimePlain, noKeys, Connection, "2.6.9", "Names the connection.", nil},
			{"client|tracking", -3, anytimePlain, noKeys, Connection, "6.0.0", "Turns messages about changes of keys read on or off.", nil},
			{"client|trackinginfo", 2, anytimePlain, noKeys, Connection, "6.2.0", "Describes the tracking of the connection.", nil},
			{"client|unpause", 2, adminPlain, noKeys, Connection, "6.2.0", "Ends a pause.", nil},
		}},
		{"echo", 2, anytime | Fast, noKeys, Connection, "1.0.0", "Returns the argument.", nil},
		{"hello", -1, door, noKeys, Connection, "6.0.0", "Chooses the protocol version, and may authenticate and name the connection.", nil},
		{"ping", -1, Fast, noKeys, Connection, "1.0.0", "Answers, to show that the connection works.", nil},
		{"quit", -1, door, noKeys, Connection, "1.0.0", "Ends the connection.", nil},
		{"readonly", 1, anytime | Fast, noKeys, Connection, "3.0.0", "Lets the connection read from followers.", nil},
		{"readwrite", 1, anytime | Fast, noKeys, Connection, "3.0.0", "Takes READONLY back.", nil},
		{"reset", 1, door, noKeys, Connection, "6.2.0", "Puts the connection back to its first state.", nil},
		{"select", 2, anytime | Fast, noKeys, Connection, "1.0.0", "Chooses the database: the space that keys belong to.", nil},
	}
}

func serverCommands() []Spec {
	return []Spec{
		{"acl", -2, 0, noKeys, ServerGroup, "6.0.0", "Commands about users and what they may do.", []Spec{
			{"acl|cat", -2, anytimePlain, noKeys, ServerGroup, "6.0.0", "Lists the categories, or the commands of one.", nil},
			{"acl|getuser", 3, adminPlain, noKeys, ServerGroup, "6.0.0", "Describes what a user may do.", nil},
			{"acl|help", 2, anytime, noKeys, ServerGroup, "6.0.0", "Lists the subcommands.", nil},
			{"acl|list", 2, adminPlain, noKeys, ServerGroup, "6.0.0", "Lists the users with their rules.", nil},
			{"acl|users", 2, adminPlain, noKeys, ServerGroup, "6.0.0", "Lists the names of the users.", nil},
			{"acl|whoami", 2, anytimePlain, noKeys, ServerGroup, "6.0.0", "Returns the user of the connection.", nil},
		}},
		{"cluster", -2, 0, noKeys, ClusterGroup, "3.0.0", "Commands about the cluster.", []Spec{
			{"cluster|countkeysinslot", 3, Stale, noKeys, ClusterGroup, "3.0.0", "Returns the number of keys in a slot.", nil},
			{"cluster|help", 2, anytime, noKeys, ClusterGroup, "5.0.0", "Lists the subcommands.", nil},
			{"cluster|info", 2, Stale, noKeys, ClusterGroup, "3.0.0", "Describes the state of the cluster.", nil},
			{"cluster|keyslot", 3, Stale, noKeys, ClusterGroup, "3.0.0", "Returns the slot of a key.", nil},
			{"cluster|myid", 2, Stale, noKeys, ClusterGroup, "3.0.0", "Returns the identity of the member.", nil},
			{"cluster|nodes", 2, Stale, noKeys, ClusterGroup, "3.0.0", "Lists the members, a line each.", nil},
			{"cluster|shards", 2, Stale, noKeys, ClusterGroup, "7.0.0", "Lists the slot ranges with their replicas.", nil},
			{"cluster|slots", 2, Stale, noKeys, ClusterGroup, "3.0.0", "Lists the slot ranges with the members that serve them.", nil},
		}},
		{"command", -1, anytime, noKeys, Connection, "2.8.13", "Describes the commands.", []Spec{
			{"command|count", 2, anytime, noKeys, Connection, "2.8.13", "Returns the number of commands.", nil},
			{"command|docs", -2, anytime, noKeys, Connection, "7.0.0", "Returns the documentation of commands.", nil},
			{"command|getkeys", -3, anytime, noKeys, Connection, "2.8.13", "Returns the keys of a command.", nil},
			{"command|help", 2, anytime, noKeys, Connection, "5.0.0", "Lists the subcommands.", nil},
			{"command|info", -2, anytime, noKeys, Connection, "2.8.13", "Describes some or all commands.", nil},
			{"command|list", -2, anytime, noKeys, Connection, "7.0.0", "Returns the names of the commands.", nil},
		}},
		{"config", -2, 0, noKeys, ServerGroup, "2.0.0", "Commands about settings.", []Spec{
			{"config|get", -3, adminPlain, noKeys, ServerGroup, "2.0.0", "Returns settings whose names match.", nil},
			{"config|help", 2, anytime, noKeys, ServerGroup, "5.0.0", "Lists the subcommands.", nil},
			{"config|resetstat", 2, adminPlain, noKeys, ServerGroup, "2.0.0", "Sets the statistics of INFO to zero.", nil},
			{"config|set", -4, adminPlain, noKeys, ServerGroup, "2.0.0", "Changes settings that may change at run time.", nil},
		}},
		{"dbsize", 1, readFast, noKeys, Generic, "1.0.0", "Returns the number of keys in the database.", nil},
		{"info", -1, anytime | Dangerous, noKeys, ServerGroup, "1.0.0", "Describes the member and its statistics.", nil},
		{"latency", -2, 0, noKeys, ServerGroup, "2.8.13", "Commands about latency.", []Spec{
			{"latency|help", 2, anytime, noKeys, ServerGroup, "2.8.13", "Lists the subcommands.", nil},
			{"latency|histogram", -2, adminPlain, noKeys, ServerGroup, "7.0.0", "Returns how long commands took.", nil},
			{"latency|history", 3, adminPlain, noKeys, ServerGroup, "2.8.13", "Returns the samples of an event.", nil},
			{"latency|latest", 2, adminPlain, noKeys, ServerGroup, "2.8.13", "Returns the latest sample of every event.", nil},
			{"latency|reset", -2, adminPlain, noKeys, ServerGroup, "2.8.13", "Forgets samples.", nil},
		}},
		{"lolwut", -1, readFast, noKeys, ServerGroup, "5.0.0", "Draws something and tells the version.", nil},
		{"memory", -2, 0, noKeys, ServerGroup, "4.0.0", "Commands about memory.", []Spec{
			{"memory|help", 2, anytime, noKeys, ServerGroup, "4.0.0", "Lists the subcommands.", nil},
			{"memory|usage", -3, ReadOnly, subKey, ServerGroup, "4.0.0", "Returns the memory a key takes, in bytes.", nil},
		}},
		{"module", -2, 0, noKeys, ServerGroup, "4.0.0", "Commands about modules, of which there are none.", []Spec{
			{"module|help", 2, anytime, noKeys, ServerGroup, "5.0.0", "Lists the subcommands.", nil},
			{"module|list", 2, Admin | NoScript, noKeys, ServerGroup, "4.0.0", "Returns an empty list.", nil},
		}},
		{"role", 1, anytimePlain | Fast | Dangerous, noKeys, ServerGroup, "2.8.12", "Returns the part the member plays in replication.", nil},
		{"slowlog", -2, 0, noKeys, ServerGroup, "2.2.12", "Commands about slow commands.", []Spec{
			{"slowlog|get", -2, Admin | anytime, noKeys, ServerGroup, "2.2.12", "Returns the latest slow commands.", nil},
			{"slowlog|help", 2, anytime, noKeys, ServerGroup, "6.2.0", "Lists the subcommands.", nil},
			{"slowlog|len", 2, Admin | anytime, noKeys, ServerGroup, "2.2.12", "Returns the number of slow commands kept.", nil},
			{"slowlog|reset", 2, Admin | anytime, noKeys, ServerGroup, "2.2.12", "Forgets the slow commands.", nil},
		}},
		{"time", 1, anytime | Fast, noKeys, ServerGroup, "2.6.0", "Returns the wall clock, in seconds and microseconds.", nil},
		{"wait", 3, NoScript, noKeys, Connection, "3.0.0", "Waits until writes are held by a number of replicas.", nil},
	}
}

func stringCommands() []Spec {
	return []Spec{
		{"append", 3, addFast, firstKey, Strings, "2.0.0", "Appends to the value of a key.", nil},
		{"decr", 2, addFast, firstKey, Strings, "1.0.0", "Takes one from the number at a key.", nil},
		{"decrby", 3, addFast, firstKey, Strings, "1.0.0", "Takes an integer from the number at a key.", nil},
		{"get", 2, readFast, firstKey, Strings, "1.0.0", "Returns the value of a key.", nil},
		{"getdel", 2, writeFast, firstKey, Strings, "6.2.0", "Returns the value of a key and deletes the key.", nil},
		{"getex", -2, writeFast, firstKey, Strings, "6.2.0", "Returns the value of a key and changes its expiry.", nil},
		{"getrange", 4, ReadOnly, firstKey, Strings, "2.4.0", "Returns a part of the value of a key.", nil},
		{"getset", 3, addFast, firstKey, Strings, "1.0.0", "Sets a key and returns the value it had.", nil},
		{"incr", 2, addFast, firstKey, Strings, "1.0.0", "Adds one to the number at a key.", nil},
		{"incrby", 3, addFast, firstKey, Strings, "1.0.0", "Adds an integer to the number at a key.", nil},
		{"incrbyfloat", 3, addFast, firstKey, Strings, "2.6.0", "Adds a floating-point number to the number at a key.", nil},
		{"mget", -2, readFast, allKeys, Strings, "1.0.0", "Returns the values of several keys.", nil},
		{"mset", -3, Write | DenyOOM, pairKeys, Strings, "1.0.1", "Sets several keys.", nil},
		{"msetnx", -3, Write | DenyOOM, pairKeys, Strings, "1.0.1", "Sets several keys, if none of them exists.", nil},
		{"psetex", 4, Write | DenyOOM, firstKey, Strings, "2.6.0", "Sets a key and its expiry in milliseconds.", nil},
		{"set", -3, Write | DenyOOM, firstKey, Strings, "1.0.0", "Sets a key, under conditions and with an expiry if asked.", nil},
		{"setex", 4, Write | DenyOOM, firstKey, Strings, "2.0.0", "Sets a key and its expiry in seconds.", nil},
		{"setnx", 3, addFast, firstKey, Strings, "1.0.0", "Sets a key that does not exist.", nil},
		{"setrange", 4, Write | DenyOOM, firstKey, Strings, "2.2.0", "Overwrites a part of the value of a key.", nil},
		{"strlen", 2, readFast, firstKey, Strings, "2.2.0", "Returns the length of the value of a key.", nil},
	}
}

func keyCommands() []Spec {
	return []Spec{
		{"copy", -3, Write | DenyOOM, twoKeys, Generic, "6.2.0", "Copies a key to another.", nil},
		{"del", -2, Write, allKeys, Generic, "1.0.0", "Deletes keys.", nil},
		{"exists", -2, readFast, allKeys, Generic, "1.0.0", "Counts the keys that exist.", nil},
		{"expire", -3, writeFast, firstKey, Generic, "1.0.0", "Sets the expiry of a key, in seconds from now.", nil},
		{"expireat", -3, writeFast, firstKey, Generic, "1.2.0", "Sets the expiry of a key, in seconds of Unix time.", nil},
		{"expiretime", 2, readFast, firstKey, Generic, "7.0.0", "Returns when a key expires, in seconds of Unix time.", nil},
		{"flushall", -1, Write | Dangerous, noKeys, Generic, "1.0.0", "Deletes the keys of all databases.", nil},
		{"flushdb", -1, Write | Dangerous, noKeys, Generic, "1.0.0", "Deletes the keys of the database.", nil},
		{"keys", 2, ReadOnly | Dangerous, noKeys, Generic, "1.0.0", "Returns all keys that match a pattern.", nil},
		{"object", -2, 0, noKeys, Generic, "2.2.3", "Commands about how a key is kept.", []Spec{
			{"object|encoding", 3, ReadOnly, subKey, Generic, "2.2.3", "Returns the form a key is kept in.", nil},
			{"object|freq", 3, ReadOnly, subKey, Generic, "4.0.0", "Returns how often a key is used.", nil},
			{"object|help", 2, anytime, noKeys, Generic, "6.2.0", "Lists the subcommands.", nil},
			{"object|idletime", 3, ReadOnly, subKey, Generic, "2.2.3", "Returns for how long a key was not used.", nil},
			{"object|refcount", 3, ReadOnly, subKey, Generic, "2.2.3", "Returns the number of references to a key's value.", nil},
		}},
		{"persist", 2, writeFast, firstKey, Generic, "2.2.0", "Takes the expiry from a key.", nil},
		{"pexpire", -3, writeFast, firstKey, Generic, "2.6.0", "Sets the expiry of a key, in milliseconds from now.", nil},
		{"pexpireat", -3, writeFast, firstKey, Generic, "2.6.0", "Sets the expiry of a key, in milliseconds of Unix time.", nil},
		{"pexpiretime", 2, readFast, firstKey, Generic, "7.0.0", "Returns when a key expires, in milliseconds of Unix time.", nil},
		{"pttl", 2, readFast, firstKey, Generic, "2.6.0", "Returns how long a key has left, in milliseconds.", nil},
		{"randomkey", 1, ReadOnly, noKeys, Generic, "1.0.0", "Returns a key chosen by chance.", nil},
		{"rename", 3, Write, twoKeys, Generic, "1.0.0", "Gives a key another name.", nil},
		{"renamenx", 3, writeFast, twoKeys, Generic, "1.0.0", "Gives a key another name that is not taken.", nil},
		{"scan", -2, ReadOnly, noKeys, Generic, "2.8.0", "Goes through the keys of the database in steps.", nil},
		{"touch", -2, readFast, allKeys, Generic, "3.2.1", "Counts the keys that exist.", nil},
		{"ttl", 2, readFast, firstKey, Generic, "1.0.0", "Returns how long a key has left, in seconds.", nil},
		{"type", 2, readFast, firstKey, Generic, "1.0.0", "Returns the type of a key.", nil},
		{"unlink", -2, writeFast, allKeys, Generic, "4.0.0", "Deletes keys.", nil},
	}
}

func hashCommands() []Spec {
	return []Spec{
		{"hdel", -3, writeFast, firstKey, Hashes, "2.0.0", "Deletes fields of a hash.", nil},
		{"hexists", 3, readFast, firstKey, Hashes, "2.0.0", "Tells whether a hash has a field.", nil},
		{"hget", 3, readFast, firstKey, Hashes, "2.0.0", "Returns the value of a field.", nil},
		{"hgetall", 2, ReadOnly, firstKey, Hashes, "2.0.0", "Returns all fields and values of a hash.", nil},
		{"hincrby", 4, addFast, firstKey, Hashes, "2.0.0", "Adds an integer to the number in a field.", nil},
		{"hincrbyfloat", 4, addFast, firstKey, Hashes, "2.6.0", "Adds a floating-point number to the number in a field.", nil},
		{"hkeys", 2, ReadOnly, firstKey, Hashes, "2.0.0", "Returns the fields of a hash.", nil},
		{"hlen", 2, readFast, firstKey, Hashes, "2.0.0", "Returns the number of fields of a hash.", nil},
		{"hmget", -3, readFast, firstKey, Hashes, "2.0.0", "Returns the values of several fields.", nil},
		{"hmset", -4, addFast, firstKey, Hashes, "2.0.0", "Sets several fields.", nil},
		{"hrandfield", -2, ReadOnly, firstKey, Hashes, "6.2.0", "Returns fields chosen by chance.", nil},
		{"hscan", -3, ReadOnly, firstKey, Hashes, "2.8.0", "Goes through the fields of a hash in steps.", nil},
		{"hset", -4, addFast, firstKey, Hashes, "2.0.0", "Sets fields of a hash.", nil},
		{"hsetnx", 4, addFast, firstKey, Hashes, "2.0.0", "Sets a field that does not exist.", nil},
		{"hstrlen", 3, readFast, firstKey, Hashes, "3.2.0", "Returns the length of the value of a field.", nil},
		{"hvals", 2, ReadOnly, firstKey, Hashes, "2.0.0", "Returns the values of a hash.", nil},
	}
}

func transactionCommands() []Spec {
	return []Spec{
		{"discard", 1, anytimePlain | Fast | AllowBusy, noKeys, Transactions, "2.0.0", "Forgets the queued commands.", nil},
		{"exec", 1, anytimePlain | SkipSlowLog, noKeys, Transactions, "1.2.0", "Runs the queued commands as one.", nil},
		{"multi", 1, anytimePlain | Fast | AllowBusy, noKeys, Transactions, "1.2.0", "Starts to queue commands.", nil},
		{"unwatch", 1, anytimePlain | Fast | AllowBusy, noKeys, Transactions, "2.2.0", "Forgets the watched keys.", nil},
		{"watch", -2, anytimePlain | Fast | AllowBusy, allKeys, Transactions, "2.2.0", "Makes EXEC fail if one of the keys has changed.", nil},
	}
}

func spaceCommands() []Spec {
	return []Spec{
		{"space.ack", 4, Write, heldKey, Spaces, "", "Removes an entry that was claimed: the work is done.", nil},
		{"space.aggregate", -2, ReadOnly, noKeys, Spaces, "", "Counts, sums and groups the entries that match, beside the data.", nil},
		{"space.alter", -4, Write | Admin, noKeys, Spaces, "", "Changes indexes, declared fields and the terms of claims of a space.", nil},
		{"space.change", -6, Write | DenyOOM | MovableKeys, spaceKey, Spaces, "", "Changes an entry where it is, by key, or those that match.", nil},
		{"space.claim", -4, Write | MovableKeys, spaceKey, Spaces, "", "Hides an entry for a while and returns it with a token, and may wait for it.", nil},
		{"space.count", -2, ReadOnly, noKeys, Spaces, "", "Counts the entries of a space, or those that match.", nil},
		{"space.create", -2, Write | Admin, noKeys, Spaces, "", "Defines a space.", nil},
		{"space.describe", 2, readFast, noKeys, Spaces, "", "Describes a space: its shape, indexes, fields and terms.", nil},
		{"space.drop", 3, Write | Admin, noKeys, Spaces, "", "Removes a space and its entries.", nil},
		{"space.explain", -2, ReadOnly, noKeys, Spaces, "", "Tells how a query would find its entries, and what that costs.", nil},
		{"space.extend", -4, Write, heldKey, Spaces, "", "Makes a claim last from now on.", nil},
		{"space.list", 1, readFast, noKeys, Spaces, "", "Lists the spaces.", nil},
		{"space.nack", -4, Write, heldKey, Spaces, "", "Shows an entry that was claimed again.", nil},
		{"space.query", -2, ReadOnly, noKeys, Spaces, "", "Returns the entries of a space that match.", nil},
		{"space.read", -4, ReadOnly | MovableKeys, spaceKey, Spaces, "", "Returns an entry, by key or the first that matches, and may wait for it.", nil},
		{"space.take", -4, Write | MovableKeys, spaceKey, Spaces, "", "Removes and returns an entry, by key or the first that matches, and may wait for it.", nil},
		{"space.write", -4, Write | DenyOOM | MovableKeys, spaceKey, Spaces, "", "Writes an entry.", nil},
	}
}
