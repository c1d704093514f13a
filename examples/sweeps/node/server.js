// An HTTP server: pages, a file, a worker thread, another process. What goes wrong is answered with status 500.
'use strict';
const { execFile } = require('node:child_process');
const fs = require('node:fs');
const http = require('node:http');
const { Worker } = require('node:worker_threads');

const pages = {
  '/page': (answer) => answer(null, 'a page\n'),
  '/file': (answer) => fs.writeFile('file', 'a file\n', (error) => {
    if (error) answer(error);
    else fs.readFile('file', 'utf8', answer);
  }),
  '/worker': (answer) => {
    const worker = new Worker('require("node:worker_threads").parentPort.postMessage(6 * 7)', { eval: true });
    worker.once('message', (number) => answer(null, `${number}\n`));
    worker.once('error', answer);
  },
  '/process': (answer) => execFile('/bin/echo', ['a process'], answer),
};

const server = http.createServer((request, response) => {
  const answer = (error, text) => {
    if (error) console.error(error.code ?? error.message);
    response.statusCode = error ? 500 : 200;
    response.end(error ? undefined : text);
  };
  const page = pages[request.url] ?? ((answer) => answer(new Error('no such page')));
  try {
    page(answer);
  } catch (error) {
    answer(error);
  }
});
server.on('error', (error) => { console.error(error.message); process.exit(1); });
server.listen(7000, '127.0.0.1');
process.on('SIGTERM', () => { server.close(); server.closeAllConnections(); });
