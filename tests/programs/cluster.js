// An HTTP server with two workers (node's cluster) that also starts children. It prints its port, and
// exits with 5 after SIGTERM.
'use strict';
const cluster = require('node:cluster');
const http = require('node:http');
const { execFile } = require('node:child_process');

if (cluster.isPrimary) {
  cluster.fork();
  cluster.fork();
  let listening = 0;
  cluster.on('listening', (worker, address) => {
    if (++listening === 2) console.log('port', address.port);
  });
  process.on('SIGTERM', () => {
    process.exitCode = 5;
    for (const worker of Object.values(cluster.workers)) worker.send('end');
    cluster.disconnect();
  });
} else {
  const server = http.createServer((request, response) => {
    if (request.url !== '/child') return response.end('hello\n');
    execFile('echo', ['child'], (error, out) => response.end(String(error || out)));
  });
  server.listen(0, '127.0.0.1');
  process.on('message', () => server.closeAllConnections());
}
