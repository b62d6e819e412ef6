#!/bin/bash
# Exits 0 when mongod takes connections from outside. While the image makes its first accounts, mongod listens on loopback
# only, so the host's own name is asked. mongosh would take a second of a core, at the opening too.
exec 3<>"/dev/tcp/$HOSTNAME/27017"
