// Package lastgood keeps on disk what a node must know to go on alone: the desired state as it was last read soundly, the
// version of each service that last worked, and who this node is. With it a Pi that boots without Consul, registry and any
// other Pi runs what it ran before, and a store that was lost can be seeded again.
//
// # On disk
//
// There are three generations, in the files lastgood.0 to lastgood.2 of the state folder; each write takes the place of the
// oldest. A file is one line of text, then the state as JSON:
//
//	brambled-lastgood 1 42 1234 9f86d081…
//
// The numbers are the schema, the generation and the length of the JSON in bytes; the last word is the SHA-256 of all of
// that and the JSON. So a file that was cut, zeroed or changed by a failing card is told from a sound one, and the newest
// sound one counts.
//
// A write goes to a file of its own, is synced, renamed and the folder synced: power may fail at any moment and leaves either
// the old or the new generation in its place, and the two others as they were.
//
// Files hold variables and secrets, and are readable by their owner alone. One that a newer brambled wrote is never read and
// never overwritten: it is put aside under another name, for the way back up.
package lastgood
