package quic

import "golang.org/x/sys/windows"

const tooLong = windows.WSAEMSGSIZE
