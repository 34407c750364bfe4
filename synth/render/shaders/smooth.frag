#version 430
// A 4×4 average over what lies at the same depth: the period of the occlusion's turn, so its pattern goes.
uniform sampler2D depths;
uniform sampler2D raw;
uniform ivec2 half_size;
out float openness;

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy);
    float z = texelFetch(depths, 2 * pixel, 0).x;
    float total = 0.0, weight = 0.0;
    ivec2 first = max(pixel - 2, ivec2(0)), last = min(pixel + 2, half_size);
    for (int y = first.y; y < last.y; ++y)
        for (int x = first.x; x < last.x; ++x)
            if (abs(texelFetch(depths, 2 * ivec2(x, y), 0).x - z) < 0.03 * z + 1e-6) {
                total += texelFetch(raw, ivec2(x, y), 0).x;
                weight += 1.0;
            }
    openness = weight > 0.0 ? total / weight : 1.0;
}
