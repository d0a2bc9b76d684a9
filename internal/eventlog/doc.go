// Package eventlog writes what happens to a server's listeners, sessions and
// streams: one JSON line for each event, or one line for people to read.
//
// Nobody who has something to tell waits for whoever reads: lines go through a
// queue to a goroutine that writes them. When the reader is so slow that the
// queue is full, lines are lost, and counted, and a line says how many. So does
// one for those that are left out because too many came within a second.
package eventlog
