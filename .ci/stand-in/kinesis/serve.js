// kinesalite's own command listens on every interface.
const [folder, port] = process.argv.slice(2)
const kinesalite = require(`${folder}/node_modules/kinesalite`)
const delays = { createStreamMs: 5, deleteStreamMs: 5, updateStreamMs: 5, shardLimit: 100 }
kinesalite(delays).listen(Number(port), '127.0.0.1')
