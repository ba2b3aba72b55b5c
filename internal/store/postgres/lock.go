package postgres

// The classes of advisory locks. A lock is a class and a number within it; they are a database's own. The first letters
// spell "pb".
const (
	// lockNode, with a node's number: shared by every transaction in which the node writes, exclusive for a takeover. Also
	// in patchbay_fence.
	lockNode = 1885430382
	// lockJoin is held by whoever takes a number; the number is 0 there and below.
	lockJoin = 1885430378
	// lockChange is held by whoever writes into the table change, until its transaction ends.
	lockChange = 1885430371
	// lockMigrate is held by whoever changes the schema, lockPartition by whoever makes or drops partitions, lockIndex by
	// whoever writes history indexes.
	lockMigrate   = 1885430381
	lockPartition = 1885430384
	lockIndex     = 1885430377
	// lockPrune is held by whoever deletes what is no longer kept, a step at a time.
	lockPrune = 1885430391
	// lockThread, with patchbay_thread, is held by whoever changes what of a thread waits. Only in patchbay_turn.
	lockThread = 1885430388
	// lockTakeOver, with a node's number, is held by whoever takes over what that node had in memory.
	lockTakeOver = 1885430383
)
