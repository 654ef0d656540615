//go:build unix

package lunasec

import (
	"net"
	"syscall"
)

// isWhole says whether an idle connection is still there and says nothing: what a sidecar closed meanwhile must not be
// noticed, nor may what nobody asked for be taken for an answer.
func isWhole(conn net.Conn) bool {
	raw, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return false
	}
	whole := false
	err = raw.Read(func(fd uintptr) bool {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		whole = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
		return true
	})
	return err == nil && whole
}
