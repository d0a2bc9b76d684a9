// Package settings is what the command can be told about a listener. One table
// of names ([All]) stands behind the flags, the variables and the query of a
// listener's URL, so that they can't come to differ. What is read is checked as
// a whole: a [Listener] that this package returns does not contradict itself.
package settings
