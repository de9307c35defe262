// Package poller waits for many sockets without a goroutine for each.
//
// A [Group] is what one server needs: some pollers, each with an epoll set. A
// poller has one goroutine, its leader, while the group has sockets. The leader
// waits for events and steps the sockets that have some. When one step takes
// long, another goroutine becomes the leader, and the first one ends after its
// step: a step may block.
//
// The package is for Linux. On other systems [Supported] is false.
package poller
