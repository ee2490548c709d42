// What every page has. A page can be read and used without it.
import { act } from "./act.js";
import { feed } from "./feed.js";
import { keys } from "./keys.js";
import { live } from "./live.js";
import { query } from "./query.js";

live();
act();
keys();
query();
feed();
