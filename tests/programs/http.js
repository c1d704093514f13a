// An HTTP server: prints its port, answers with method and URL, and exits with 5 after
// SIGTERM.
'use strict';
const http = require('node:http');

let served = 0;
const server = http.createServer((request, response) => {
  served++;
  response.end(`${request.method} ${request.url}\n`);
});
server.listen(0, '127.0.0.1', () => console.log('port', server.address().port));
process.on('SIGTERM', () => {
  server.close(() => {
    console.log('served', served, 'requests');
    process.exitCode = 5;
  });
  server.closeAllConnections();
});
