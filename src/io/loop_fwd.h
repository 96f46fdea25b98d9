/* struct loop without its functions, for folders of io's own rank that only pass it on. */
#pragma once

struct loop;
