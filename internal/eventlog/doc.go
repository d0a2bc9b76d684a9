// Package eventlog writes what happens to a server's listeners, sessions and
// streams: one JSON line for each event, or one line for people to read.
//
// Callers never wait for the reader of the log: lines go through a queue to a goroutine that
// writes them. If the queue is full, lines are dropped, and another line says how many. So it
// does for lines that are left out because there are too many in a second.
package eventlog
